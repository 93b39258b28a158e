using System.Globalization;
using Keylime.Benchmarks.Load;
using Keylime.Benchmarks.Processes;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Functions.Telemetry;
using Keylime.Functions.Verifier;
using Keylime.Protocol.Api;
using Keylime.Testing;
using Keylime.Tpm;
using Microsoft.Extensions.DependencyInjection;

namespace Keylime.Benchmarks;

/// <summary>What an operator, a dashboard and the timer ask of a large fleet, of which a few nodes at random places are in each of the states that one asks for: lists, page after page, the count, and the sweep.</summary>
internal static class FleetLists
{
    private const int Few = 10;
    private const int PageSize = 100; // an answer of the API, unless it is asked for another number

    /// <param name="Longest">Seconds of the page that took longest.</param>
    /// <param name="Requests">To the store, of all pages; null on SQLite.</param>
    public sealed record List(NodeState State, int Nodes, int Pages, double First, double Longest, long? Requests);

    /// <param name="Count">The count of the fleet, with its row.</param>
    /// <param name="Sweep">A sweep in which nobody became overdue and nothing is counted.</param>
    public sealed record Figures(IReadOnlyList<List> Lists, (double Seconds, long? Requests) Count, (double Seconds, long? Requests) Sweep);

    public static async Task RunAsync(int count, bool onAzurite)
    {
        var figures = await MeasureAsync(count, onAzurite, CancellationToken.None);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{count:N0} nodes on {(onAzurite ? "Azurite" : "SQLite")}, lists in pages of {PageSize}"));
        foreach (var list in figures.Lists)
            Line($"{list.State.ToString().ToLowerInvariant()}, the first page", list.First, null, $"; {list.Nodes:N0} nodes in {list.Pages:N0} pages, the longest {list.Longest:N3} s{(list.Requests is { } all ? $", {all:N0} requests" : "")}");
        Line("count", figures.Count.Seconds, figures.Count.Requests, "");
        Line("sweep, nobody became overdue", figures.Sweep.Seconds, figures.Sweep.Requests, "");

        static void Line(string what, double seconds, long? requests, string more) =>
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{what,-32}{seconds,8:N3} s{(requests is { } r ? $", {r:N0} requests" : "")}{more}"));
    }

    /// <exception cref="BenchmarkException">A list is not what it should be.</exception>
    public static async Task<Figures> MeasureAsync(int count, bool onAzurite, CancellationToken cancel)
    {
        var folder = Directory.CreateTempSubdirectory("lists-").FullName;
        try
        {
            await using var azurite = onAzurite ? await CountedAzurite.StartAsync(cancel) : null;
            var options = new ServiceOptions { Data = Path.Combine(folder, "service") };
            PrivateFiles.CreateFolder(options.Data);
            using var tpm = new SoftwareTpm(TpmAlgorithm.Ecdsa);
            var nodes = SeededFleet.Of(count, [tpm.AttestationKey], new MeasuredList(1), 1, 60, new string('0', 64)).Select(Place(count));
            if (azurite is not null)
            {
                options = options with { AzureConnections = Path.Combine(folder, "connections") };
                await File.WriteAllTextAsync(options.AzureConnections, azurite.Counted, cancel);
                await azurite.PrepareAsync(cancel);
                await SeededFleet.ToAzureAsync(azurite.Direct, nodes, [], cancel);
            }
            else
            {
                await SeededFleet.ToSqliteAsync(Path.Combine(options.Data, "keylime.db"), nodes, [], cancel);
            }

            await using var service = Service.Build(options);
            var store = service.Services.GetRequiredService<INodeStore>();
            var lists = new List<List>();
            foreach (var state in Enum.GetValues<NodeState>())
                lists.Add(await ListAsync(state));
            if (lists.Sum(static l => l.Nodes) != count || lists.Any(static l => l.State != NodeState.Trusted && l.Nodes != Few))
                throw new BenchmarkException($"The lists have {string.Join(", ", lists.Select(static l => $"{l.Nodes} {l.State}"))}; {Few} of each state and the rest trusted, {count} in all, are right.");

            var swept = service.Services.GetRequiredService<Sweep>();
            await swept.RunAsync(cancel); // tells what became overdue, and counts
            var fleet = service.Services.GetRequiredService<FleetCount>();
            if (fleet.Current is not { } counted || lists.Any(l => counted.Nodes[FleetCount.NameOf(l.State)] != l.Nodes))
                throw new BenchmarkException("The count is not what the lists have.");
            var sweep = await TimeAsync(() => swept.RunAsync(cancel));
            var timers = service.Services.GetRequiredService<IRecordStore<TimerState>>();
            await timers.TryDeleteAsync((await timers.FindAsync(FleetCount.Name, cancel))!, cancel); // it is due again
            return new Figures(lists, await TimeAsync(() => fleet.RunAsync(cancel)), sweep);

            async Task<List> ListAsync(NodeState state)
            {
                var moment = Moment.Of(TimeProvider.System.GetUtcNow());
                var (found, times, before, after) = (0, new List<double>(), azurite?.Counts, (Continuation?)null);
                do
                {
                    var (seconds, _) = await TimeAsync(async () =>
                    {
                        var page = await store.ListAsync(new NodeQuery(moment, state), after, PageSize, cancel);
                        (found, after) = (found + page.Items.Count, page.Next);
                    });
                    times.Add(seconds);
                }
                while (after is not null);
                return new List(state, found, times.Count, times[0], times.Max(), azurite is null ? null : RequestCounter.Since(before!, azurite.Counts).Values.Sum());
            }

            async Task<(double Seconds, long? Requests)> TimeAsync(Func<Task> work)
            {
                var (clock, before) = (TimeProvider.System, azurite?.Counts);
                var start = clock.GetTimestamp();
                await work();
                return (clock.GetElapsedTime(start).TotalSeconds, azurite is null ? null : RequestCounter.Since(before!, azurite.Counts).Values.Sum());
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    // The same places each time; partitions are by the hash of the name, and so at random.
    private static Func<Node, int, Node> Place(int count)
    {
        var now = TimeProvider.System.GetUtcNow();
        var step = count / (5 * Few);
        return (node, i) => i % step != 0 || i / step >= 5 * Few ? node : (i / step % 5) switch
        {
            0 => node with { Last = node.Last! with { Pass = false } },
            1 => node with { Last = null, LateAt = null, SilentAt = null },
            2 => node with { RetiredAt = now },
            3 => node with { LateAt = now.AddMinutes(-10) },
            _ => node with { LateAt = now.AddMinutes(-20), SilentAt = now.AddMinutes(-10) },
        };
    }
}
