using System.CommandLine;

namespace Keylime.Tenant;

/// <summary>How a command writes what it has to say: <c>--output table|json|csv</c>, and <c>--json</c> for short.</summary>
internal sealed class Formats
{
    private readonly Option<bool> _json = new("--json") { Description = "The same as --output json.", Recursive = true };
    private readonly Option<string> _output = new("--output", "-o") { Description = "table, json (one document) or csv.", Recursive = true, DefaultValueFactory = static _ => "table" };

    public Formats(RootCommand root)
    {
        _output.AcceptOnlyFromAmong("table", "json", "csv");
        root.Options.Add(_json);
        root.Options.Add(_output);
    }

    public bool IsJson(ParseResult parsed) => parsed.GetValue(_json) || parsed.GetValue(_output) == "json";

    public bool IsCsv(ParseResult parsed) => !parsed.GetValue(_json) && parsed.GetValue(_output) == "csv";
}
