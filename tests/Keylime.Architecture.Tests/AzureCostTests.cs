using System.Globalization;
using System.Text.RegularExpressions;

namespace Keylime.Architecture.Tests;

/// <summary>The estimate of docs/azure-cost.md is what its own parameters give.</summary>
public sealed partial class AzureCostTests
{
    private const double Month = 2_628_000; // seconds

    [GeneratedRegex(@"^\| `([a-z]+)` \| ([0-9.]+) \|", RegexOptions.Multiline)]
    private static partial Regex Parameter { get; }

    [GeneratedRegex(@"^\| [0-9,]+ \|.*$", RegexOptions.Multiline)]
    private static partial Regex Row { get; }

    [Fact]
    public void The_table_follows_from_the_parameters()
    {
        var text = File.ReadAllText(Path.Combine(Checkout.Root, "docs", "azure-cost.md")).ReplaceLineEndings("\n");
        var parameters = Parameter.Matches(text).ToDictionary(static m => m.Groups[1].Value, static m => double.Parse(m.Groups[2].Value, CultureInfo.InvariantCulture));
        Assert.Equal(((int[])[10, 1_000, 100_000]).Select(nodes => RowOf(nodes, parameters)), Row.Matches(text).Select(static m => m.Value));
    }

    [Fact]
    public void What_it_says_of_the_templates_is_so()
    {
        var text = File.ReadAllText(Path.Combine(Checkout.Root, "docs", "azure-cost.md"));
        var parameters = Parameter.Matches(text).ToDictionary(static m => m.Groups[1].Value, static m => m.Groups[2].Value);
        var prod = File.ReadAllText(Path.Combine(Checkout.Root, "infra", "prod.bicepparam"));
        Assert.Contains($"param keepVerdictsDays = {parameters["days"]}\n", prod, StringComparison.Ordinal);
        Assert.Contains($"param perInstanceConcurrency = {parameters["concurrency"]}\n", prod, StringComparison.Ordinal);
        Assert.Contains($"param instanceMemoryMB = {int.Parse(parameters["memory"], CultureInfo.InvariantCulture) * 1024}\n", prod, StringComparison.Ordinal);
        Assert.Contains($"param traceRatio = '{parameters["ratio"]}'", prod, StringComparison.Ordinal);
        var snapshot = File.ReadAllText(Path.Combine(Checkout.Root, "infra", "prod.snapshot.json"));
        Assert.Equal(parameters["endpoints"], Regex.Count(snapshot, "\"type\": \"Microsoft.Network/privateEndpoints\"").ToString(CultureInfo.InvariantCulture));
    }

    private static string RowOf(int nodes, Dictionary<string, double> p)
    {
        var rate = nodes / p["interval"];
        var count = rate * Month;
        double[] parts =
        [
            count / 1e6 * p["execution"],
            p["ready"] * p["memory"] * Month * p["baseline"] + Math.Max(Math.Min(1, rate), rate * p["busy"] / p["concurrency"]) * p["memory"] * Month * p["active"],
            count / 1e6 * p["operations"] * p["operation"],
            rate * 86_400 * p["days"] * p["row"] / 1e6 * p["store"],
            count * p["lines"] * p["line"] / 1e6 * p["ingest"],
            (count * p["ratio"] * p["items"] + (p["ready"] + rate * p["busy"] / p["concurrency"]) * Month / 60 * p["series"]) * p["item"] / 1e6 * p["ingest"],
            p["endpoints"] * p["endpoint"] + p["fixed"],
        ];
        var whole = string.Join(" | ", parts.Append(parts.Sum()).Select(static d => d.ToString("N0", CultureInfo.InvariantCulture)));
        return string.Create(CultureInfo.InvariantCulture, $"| {nodes:N0} | {whole} | {parts.Sum() / nodes:N2} |");
    }
}
