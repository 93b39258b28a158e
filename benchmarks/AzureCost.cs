using System.Globalization;
using System.Text.RegularExpressions;

namespace Keylime.Benchmarks;

/// <summary>
/// The formulas of docs/azure-cost.md: from what an attestation takes to what a fleet takes of Azure, in requests, transactions, instances and money a month, and where a limit is met. The parameters are those of the page,
/// which has their date. A test compiles this file too, and holds the page to it.
/// </summary>
internal static partial class AzureCost
{
    private const double Month = 2_628_000; // seconds

    private static readonly int[] Fleets = [10, 1_000, 100_000, 1_000_000];
    private static readonly int[] Intervals = [30, 60, 300];

    [GeneratedRegex(@"^\| `([a-z]+)` \| ([0-9.]+) \|", RegexOptions.Multiline)]
    private static partial Regex Parameter { get; }

    /// <summary>The parameters of the page, by their names.</summary>
    public static Dictionary<string, double> Parameters(string page) =>
        Parameter.Matches(page.ReplaceLineEndings("\n")).ToDictionary(static m => m.Groups[1].Value, static m => double.Parse(m.Groups[2].Value, CultureInfo.InvariantCulture));

    /// <summary>What a month costs, part by part, at the page's own interval.</summary>
    public static IEnumerable<string> Costs(IReadOnlyDictionary<string, double> p) =>
    [
        "| Nodes | Executions | Instances | Operations | Verdicts kept | Logs | Telemetry | Fixed | $ a month | $ a node |",
        "|---|---|---|---|---|---|---|---|---|---|",
        .. Fleets.Select(nodes =>
        {
            var parts = Parts(nodes / p["interval"], p);
            return Line($"| {nodes:N0} | {string.Join(" | ", parts.Append(parts.Sum()).Select(static d => d.ToString("N0", CultureInfo.InvariantCulture)))} | {parts.Sum() / nodes:N2} |");
        }),
    ];

    /// <summary>What a fleet asks of storage and instances, and how near a limit that is.</summary>
    public static IEnumerable<string> Limits(IReadOnlyDictionary<string, double> p) =>
    [
        "| Nodes, interval | Attestations/s | Storage operations/s | Accounts | Of a partition's limit | Instances that work | $ a month | $ a node |",
        "|---|---|---|---|---|---|---|---|",
        .. Fleets.SelectMany(_ => Intervals, (nodes, interval) =>
        {
            var rate = (double)nodes / interval;
            var accounts = Math.Max(1, Math.Ceiling(rate * p["operations"] / p["account"]));
            // Of its operations an attestation has all but the verdict's insert in a partition of nodes, which are spread over the partitions of each account.
            var partition = rate * Math.Max(0, p["operations"] - 1) / (p["partitions"] * accounts) / p["partition"];
            var money = Parts(rate, p).Sum();
            return Line($"| {nodes:N0}, {interval} s | {rate:N1} | {rate * p["operations"]:N0} | {accounts:N0} | {100 * partition:0.##} % | {Working(rate, p):N1} | {money:N0} | {money / nodes:N2} |");
        }),
        "",
        Line($"One account is full at {p["account"] / p["operations"]:N0} attestations a second, the {p["accounts"]:N0} that the templates deploy at {p["accounts"] * p["account"] / p["operations"]:N0}; {p["accounts"] * p["account"] / p["operations"] * p["interval"]:N0} nodes every {p["interval"]:N0} s are so many."),
    ];

    /// <summary>What it takes until a fleet that reboots as one has its verdicts and its secrets again.</summary>
    public static IEnumerable<string> Reboots(IReadOnlyDictionary<string, double> p) =>
    [
        "| Nodes that reboot | Lines | One instance | All instances | One vault | Five vaults |",
        "|---|---|---|---|---|---|",
        .. Fleets.Select(nodes =>
        {
            var lines = nodes * p["list"];
            return Line($"| {nodes:N0} | {lines:N0} | {Span(lines / p["judged"])} | {Span(lines / p["judged"] / p["instances"])} | {Span(nodes / p["unwraps"])} | {Span(nodes / p["unwraps"] / 5)} |");
        }),
    ];

    private static double Working(double rate, IReadOnlyDictionary<string, double> p) => Math.Max(Math.Min(1, rate), rate * Math.Max(p["busy"] / p["concurrency"], p["cpu"]));

    private static double[] Parts(double rate, IReadOnlyDictionary<string, double> p)
    {
        var count = rate * Month;
        return
        [
            count / 1e6 * p["execution"],
            p["ready"] * p["memory"] * Month * p["baseline"] + Working(rate, p) * p["memory"] * Month * p["active"],
            count / 1e6 * p["operations"] * p["operation"],
            rate * 86_400 * p["days"] * p["row"] / 1e6 * p["store"],
            count * p["lines"] * p["line"] / 1e6 * p["ingest"],
            (count * p["ratio"] * p["items"] + (p["ready"] + Working(rate, p)) * Month / 60 * p["series"] + Math.Min(rate, Working(rate, p) * p["results"]) * Month) * p["item"] / 1e6 * p["ingest"],
            p["endpoints"] * p["endpoint"] + p["fixed"],
        ];
    }

    private static string Span(double seconds) => seconds switch
    {
        < 1 => "< 1 s",
        < 120 => Line($"{seconds:N0} s"),
        < 7200 => Line($"{seconds / 60:N0} min"),
        _ => Line($"{seconds / 3600:N1} h"),
    };

    private static string Line(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
