using System.CommandLine;
using System.Text.Json.Serialization;

namespace Keylime.Tenant;

/// <summary>What the doctor found: each line as it is found, or all of them as one document.</summary>
internal sealed class DoctorFindings(Surroundings surroundings, Formats formats, ParseResult parsed)
{
    private readonly List<DoctorFinding> _all = [];

    public bool AllWell => _all.TrueForAll(static f => f.Ok);

    public void Ok(string what, string detail) => Add(new DoctorFinding(what, true, detail));

    /// <param name="next">What to do about it.</param>
    public void NotOk(string what, string detail, string next) => Add(new DoctorFinding(what, false, detail) { Next = next });

    /// <summary>Writes what comes behind the last line.</summary>
    public void Finish()
    {
        if (AsTheyCome)
            surroundings.Out.WriteLine(AllWell ? "All is well." : "Not all is well: see the lines that say not ok.");
        else
            Output.WriteList(surroundings, formats, parsed, new DoctorReport(AllWell, _all), DoctorJson.Default.DoctorReport, ["check", "ok", "detail", "next"],
                _all.Select(static f => (string?[])[f.Check, f.Ok ? "ok" : "not ok", f.Detail, f.Next]));
    }

    private bool AsTheyCome => !formats.IsJson(parsed) && !formats.IsCsv(parsed);

    private void Add(DoctorFinding finding)
    {
        _all.Add(finding);
        if (!AsTheyCome)
            return;
        surroundings.Out.WriteLine($"{(finding.Ok ? "ok    " : "not ok")}  {finding.Check}: {PlainText.From(finding.Detail)}");
        if (finding.Next is { } next)
            surroundings.Out.WriteLine($"        next: {PlainText.From(next)}");
    }
}

internal sealed record DoctorReport(bool Ok, IReadOnlyList<DoctorFinding> Findings);

/// <summary>One thing that was looked at.</summary>
internal sealed record DoctorFinding(string Check, bool Ok, string Detail)
{
    public string? Next { get; init; }
}

[JsonSourceGenerationOptions(System.Text.Json.JsonSerializerDefaults.Web, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(DoctorReport))]
internal sealed partial class DoctorJson : JsonSerializerContext;
