using System.Globalization;

namespace Keylime.Testing;

/// <summary>What <c>tpm2_eventlog</c> of tpm2-tools reads in a boot log: the field's own reader, to hold ours against.</summary>
/// <param name="Events">PCR, type, digests as <c>sha256:hex</c>, size of the data, and the name of the variable where it is one.</param>
/// <param name="Pcrs">What the events lead to: <c>sha256:7</c> to hex, with all its zeros.</param>
public sealed record EventLogTool(IReadOnlyList<EventLogTool.Row> Events, IReadOnlyDictionary<string, string> Pcrs)
{
    public sealed record Row(int Pcr, string Type, string Digests, int Size, string Variable);

    /// <exception cref="InvalidOperationException">It is not installed, or refused the log.</exception>
    public static async Task<EventLogTool> ReadAsync(byte[] log)
    {
        var folder = Directory.CreateTempSubdirectory("eventlog");
        try
        {
            await File.WriteAllBytesAsync(Path.Combine(folder.FullName, "log"), log);
            return Parse(await ToolProcess.RunAsync("tpm2_eventlog", folder.FullName, ["--eventlog-version=2", "log"], null));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    // Lines of the tool's YAML by their indentation: two blanks are an event's, four or six are inside it.
    private static EventLogTool Parse(string yaml)
    {
        var events = new List<Row>();
        var pcrs = new Dictionary<string, string>();
        var (bank, inPcrs) = ("", false);
        foreach (var line in yaml.Split('\n'))
        {
            var (key, value) = line.IndexOf(':', StringComparison.Ordinal) is var colon and >= 0 ? (line[..colon], line[(colon + 1)..].Trim(' ', '"')) : (line, "");
            if (line == "pcrs:")
                inPcrs = true;
            else if (inPcrs && value.Length == 0)
                bank = key.Trim();
            else if (inPcrs)
                pcrs[$"{bank}:{key.Trim()}"] = value.Replace("0x", "", StringComparison.Ordinal);
            else if (key == "  PCRIndex")
                events.Add(new Row(int.Parse(value, CultureInfo.InvariantCulture), "", "", 0, ""));
            else if (events.Count > 0)
                events[^1] = With(events[^1], key, value);
        }

        return new EventLogTool(events, pcrs);
    }

    private static Row With(Row row, string key, string value) => key switch
    {
        "  EventType" => row with { Type = value },
        "  - AlgorithmId" => row with { Digests = $"{row.Digests} {value}:" },
        "    Digest" => row with { Digests = row.Digests + value },
        "  Digest" => row with { Digests = $" sha1:{value}" }, // the first event of a crypto-agile log
        "  EventSize" => row with { Size = int.Parse(value, CultureInfo.InvariantCulture) },
        "    UnicodeName" => row with { Variable = value },
        _ => row,
    };
}
