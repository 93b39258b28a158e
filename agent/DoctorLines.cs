namespace Keylime.Agent;

/// <summary>What the doctor says: each line ok or not, and what to do next; and what could not be looked at, and why not.</summary>
internal sealed class DoctorLines(TextWriter output)
{
    /// <summary>True as long as no line said otherwise.</summary>
    public bool AllWell { get; private set; } = true;

    public void Ok(string what, string detail) => output.WriteLine($"ok      {what}: {Plain(detail)}");

    /// <param name="next">What to do about it.</param>
    public void NotOk(string what, string detail, string next)
    {
        AllWell = false;
        output.WriteLine($"not ok  {what}: {Plain(detail)}");
        output.WriteLine($"        next: {Plain(next)}");
    }

    /// <summary>Of what hangs on something that is not ok.</summary>
    public void NotSeen(string because, params ReadOnlySpan<string> what)
    {
        AllWell = false;
        foreach (var one in what)
        {
            output.WriteLine($"not ok  {one}: not looked at: {Plain(because)}");
            output.WriteLine("        next: mend that first");
        }
    }

    public void Finish() => output.WriteLine(AllWell ? "All is well." : "Not all is well: see the lines that say not ok.");

    // Names in certificates and answers come from elsewhere: a line stays one line.
    private static string Plain(string text) => string.Concat(text.Select(static c => char.IsControl(c) ? ' ' : c));
}
