using System.Globalization;

namespace Keylime.Benchmarks.Suite;

/// <summary>What changed from one result to another, row by row. A difference within what single runs differ by is none.</summary>
internal static class Comparison
{
    public static void Print(SuiteResult before, SuiteResult after, TextWriter to)
    {
        to.WriteLine(string.Create(CultureInfo.InvariantCulture, $"before: {before.At:yyyy-MM-dd HH:mm}, {before.Commit}, {before.Machine}"));
        to.WriteLine(string.Create(CultureInfo.InvariantCulture, $"after:  {after.At:yyyy-MM-dd HH:mm}, {after.Commit}, {after.Machine}"));
        if (before.Machine.Processor != after.Machine.Processor || before.Machine.Cores != after.Machine.Cores)
            to.WriteLine("These are different machines: only rows with a peer can be compared.");
        to.WriteLine();
        to.WriteLine($"{"",-58}{"before",14}{"after",14} {"",-8}{"change",8}  {"±",4}");
        var known = before.Rows.ToDictionary(static r => r.Name);
        foreach (var row in after.Rows)
        {
            if (!known.Remove(row.Name, out var old))
                to.WriteLine($"{row.Name,-58}{"",14}{Row.Say(row.Median),14} {row.Unit,-8}     new");
            else
                Print(old, row, to);
        }

        foreach (var gone in known.Values)
            to.WriteLine($"{gone.Name,-58}{Row.Say(gone.Median),14}{"",14} {gone.Unit,-8}    gone");
    }

    private static void Print(Row old, Row row, TextWriter to)
    {
        // With a peer the ratio is what can be compared: whatever else the machine did met both.
        var (from, now, unit) = old.Ratio is { } a && row.Ratio is { } b ? (a, b, "of peer") : (old.Median, row.Median, row.Unit);
        var change = from == 0 ? now == 0 ? 0 : double.PositiveInfinity : now / from - 1;
        var noise = old.Spread + row.Spread;
        to.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{row.Name,-58}{Row.Say(from),14}{Row.Say(now),14} {unit,-8}{change,8:+0%;-0%;0%}  {noise,4:P0} {Word(change, noise, row.MoreIsBetter)}{(row.Met == false && old.Met != false ? ", and MISSED now" : "")}"));
    }

    private static string Word(double change, double noise, bool moreIsBetter) =>
        Math.Abs(change) <= Math.Max(noise, 0.02) ? "" : change > 0 == moreIsBetter ? "better" : "worse";
}
