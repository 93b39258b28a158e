using System.Globalization;
using System.Text.RegularExpressions;

namespace Keylime.Benchmarks;

/// <summary>
/// From what an attestation takes to what a fleet takes of Azure: requests, transactions, instances, money a month, and where a limit is met. Prices and usage are those of docs/azure-cost.md, which has their date;
/// <c>--set NAME=VALUE</c> puts another in the place of one.
/// </summary>
internal static partial class AzureModel
{
    private const double Month = 2_628_000; // seconds
    private const double AccountLimit = 20_000; // operations a second of a storage account
    private const double PartitionLimit = 2_000; // rows a second of a partition of a table
    private const int Partitions = 256; // of nodes, by the hash of their ids
    private const int MostAccounts = 8; // that the templates deploy

    private static readonly int[] Fleets = [10, 1_000, 100_000, 1_000_000];
    private static readonly int[] Intervals = [30, 60, 300];

    [GeneratedRegex(@"^\| `([a-z]+)` \| ([0-9.]+) \|", RegexOptions.Multiline)]
    private static partial Regex Parameter { get; }

    public static int Command(string[] args)
    {
        if (args is not [var page, .. var settings])
            throw new BenchmarkException("The page with the parameters is wanted.");
        var p = Parameter.Matches(File.ReadAllText(page).ReplaceLineEndings("\n")).ToDictionary(static m => m.Groups[1].Value, static m => double.Parse(m.Groups[2].Value, CultureInfo.InvariantCulture));
        for (var i = 0; i < settings.Length; i += 2)
        {
            if (settings[i] != "--set" || i + 1 == settings.Length || settings[i + 1].Split('=') is not [var name, var text] || !p.ContainsKey(name)
                || !double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value))
                throw new BenchmarkException($"--set NAME=NUMBER is expected, with a name of {page}: {string.Join(", ", p.Keys)}.");
            p[name] = value;
        }

        Console.WriteLine("| Nodes, interval | Attestations/s | Storage operations/s | Accounts | Of a partition's limit | Instances that work | $ a month | $ a node |");
        Console.WriteLine("|---|---|---|---|---|---|---|---|");
        foreach (var nodes in Fleets)
        {
            foreach (var interval in Intervals)
                Console.WriteLine(RowOf(nodes, interval, p));
        }

        var most = MostAccounts * AccountLimit / p["operations"];
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"\nOne account is full at {AccountLimit / p["operations"]:N0} attestations a second, the {MostAccounts} that the templates deploy at {most:N0}; {most * p["interval"]:N0} nodes every {p["interval"]:N0} s are so many."));
        return 0;
    }

    private static string RowOf(int nodes, int interval, Dictionary<string, double> p)
    {
        var rate = (double)nodes / interval;
        var operations = rate * p["operations"];
        var accounts = Math.Max(1, Math.Ceiling(operations / AccountLimit));
        // Of its operations an attestation has all but the verdict's insert in the node's own partition; nodes are spread over the partitions of each account.
        var partition = rate * Math.Max(0, p["operations"] - 1) / (Partitions * accounts) / PartitionLimit;
        var working = Math.Max(Math.Min(1, rate), rate * p["busy"] / p["concurrency"]);
        var money = Money(rate, working, p);
        return string.Create(CultureInfo.InvariantCulture,
            $"| {nodes:N0}, {interval} s | {rate:N1} | {operations:N0} | {accounts:N0} | {100 * partition:0.##} % | {working:N1} | {money:N0} | {money / nodes:N2} |");
    }

    // The formulas of the page.
    private static double Money(double rate, double working, Dictionary<string, double> p)
    {
        var count = rate * Month;
        return count / 1e6 * p["execution"]
            + p["ready"] * p["memory"] * Month * p["baseline"] + working * p["memory"] * Month * p["active"]
            + count / 1e6 * p["operations"] * p["operation"]
            + rate * 86_400 * p["days"] * p["row"] / 1e6 * p["store"]
            + count * p["lines"] * p["line"] / 1e6 * p["ingest"]
            + p["endpoints"] * p["endpoint"] + p["fixed"];
    }
}
