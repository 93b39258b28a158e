using System.CommandLine;
using System.Globalization;

namespace Keylime.Tenant;

/// <summary>Options that several commands have for what a node is enrolled with.</summary>
internal static class NodeOptions
{
    public static Option<string[]> PcrValues() =>
        new("--pcr") { Description = "INDEX=HEX: an allowed value of a PCR; may be repeated, also for one PCR.", DefaultValueFactory = _ => [] };

    public static Dictionary<string, IReadOnlyList<string>>? ReadPcrs(string[] given)
    {
        if (given.Length == 0)
            return null;
        var pcrs = new Dictionary<string, IReadOnlyList<string>>();
        foreach (var pcr in given)
        {
            if (pcr.Split('=') is not [var index, { Length: > 0 } value] || !int.TryParse(index, NumberStyles.None, CultureInfo.InvariantCulture, out _))
                throw new CliException(Exits.Usage, $"--pcr {PlainText.From(pcr)}: INDEX=HEX is expected", "for example --pcr 7=0123…, of 64 hex digits for SHA-256");
            pcrs[index] = [.. pcrs.GetValueOrDefault(index) ?? [], value];
        }

        return pcrs;
    }

    public static int ReadNumber(string text) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
        ? number
        : throw new CliException(Exits.Usage, $"interval: '{PlainText.From(text)}' is no number of seconds", "for example 60");

    public static Option<string?> Group() => new("--group") { Description = "The group of machines that it belongs to." };

    public static Option<string?> Recovery() => new("--recovery") { Description = "What heals a failure: pass, passes:N or operator." };
}
