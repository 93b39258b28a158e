using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Keylime.Benchmarks.Suite;

/// <summary>What a run of <c>./bench</c> measured, and where.</summary>
internal sealed record SuiteResult(DateTimeOffset At, string Commit, HostMachine Machine, IReadOnlyList<Row> Rows)
{
    public static SuiteResult Read(string path)
    {
        try
        {
            using var file = File.OpenRead(path);
            return JsonSerializer.Deserialize(file, SuiteJson.Default.SuiteResult) ?? throw new JsonException("null");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new BenchmarkException($"'{path}' is no result of ./bench: {e.Message}");
        }
    }

    public void Write(string path)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, JsonSerializer.SerializeToUtf8Bytes(this, SuiteJson.Default.SuiteResult));
    }

    public void Print(TextWriter to)
    {
        to.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{At:yyyy-MM-dd HH:mm} UTC, {Commit}, {Machine}"));
        to.WriteLine();
        var width = Rows.Max(static r => r.Name.Length) + 2;
        to.WriteLine($"{new string(' ', width)}{"figure",14} {"",-8}{"±",6} {"peer",14}{"ratio",8} {"budget",9}");
        foreach (var row in Rows)
        {
            var budget = row.Budget is { } b ? $"{(row.MoreIsBetter ? "≥" : "≤")} {Row.Say(b)}" : "";
            to.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{row.Name.PadRight(width)}{Row.Say(row.Median),14} {row.Unit,-8}{(row.Figures.Count > 1 ? $"{100 * row.Spread:N0}%" : ""),6} {(row.PeerFigures.Count > 0 ? Row.Say(Row.MedianOf(row.PeerFigures)) : ""),14}{(row.Ratio is { } ratio ? ratio.ToString("0.00", CultureInfo.InvariantCulture) : ""),8} {budget,9} {row.Met switch { true => "met", false => "MISSED", null => "" }}"));
        }

        to.WriteLine();
        foreach (var row in Rows.Where(static r => r.Peer is not null || r.Note.Length > 0))
            to.WriteLine($"{row.Name}: {string.Join(". ", ((string?[])[row.Peer is { } peer ? $"its peer is {peer}" : null, row.Note.Length > 0 ? row.Note : null]).Where(static t => t is not null))}");
        to.WriteLine();
        to.WriteLine($"± is half of what lies between the quartiles. {Rows.Count(static r => r.Met is true)} budgets met, {Rows.Count(static r => r.Met is false)} missed.");
    }
}

/// <param name="Load">How much else there was to do at the start: runnable tasks, a mean over a minute.</param>
internal sealed record HostMachine(string Processor, int Cores, double MemoryGigabytes, string System, string Runtime, double Load)
{
    public static HostMachine Here()
    {
        var processor = File.ReadLines("/proc/cpuinfo").FirstOrDefault(static l => l.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[^1].Trim() ?? "an unknown processor";
        var load = double.Parse(File.ReadAllText("/proc/loadavg").Split(' ')[0], CultureInfo.InvariantCulture);
        return new(processor, Environment.ProcessorCount, Math.Round(GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 1e9, 1), RuntimeInformation.OSDescription, RuntimeInformation.FrameworkDescription, load);
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Processor}, {Cores} cores, {MemoryGigabytes} GB, {Runtime}, load {Load} at the start");
}

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(SuiteResult))]
internal sealed partial class SuiteJson : JsonSerializerContext;
