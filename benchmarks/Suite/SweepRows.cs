namespace Keylime.Benchmarks.Suite;

/// <summary>What goes over a whole fleet: the sweep, lists by state, the count, retention.</summary>
internal static class SweepRows
{
    private const int Nodes = 100_000;
    private const int OnAzurite = 10_000; // so many are put there in some seconds

    private const int Expired = 60;

    public static async Task<IReadOnlyList<Row>> MeasureAsync(CancellationToken cancel)
    {
        var sweeps = await FleetSweep.MeasureAsync(Nodes);
        var (here, there) = (await FleetLists.MeasureAsync(Nodes, onAzurite: false, cancel), await FleetLists.MeasureAsync(OnAzurite, onAzurite: true, cancel));
        var emulated = $"counted on an emulator with {OnAzurite:N0} nodes; Azure itself may answer a scan of a large table in more pages";
        return
        [
            new("sweep of 100,000 nodes on SQLite, the longest", "s", [sweeps.Max(static s => s.Seconds)], MoreIsBetter: false)
            { Budget = 10, Note = string.Join("; ", sweeps.Select(static s => $"{s.What}: {Row.Say(s.Seconds)} s, {s.Told:N0} events")) },
            .. here.Lists.Select(static l => new Row($"list of {l.State.ToString().ToLowerInvariant()} nodes of 100,000, the longest page", "s", [l.Longest], MoreIsBetter: false)
            { Budget = 1, Note = $"SQLite; {l.Nodes:N0} nodes in {l.Pages:N0} pages, the first in {Row.Say(l.First)} s" }),
            new("count of 100,000 nodes on SQLite", "s", [here.Count.Seconds], MoreIsBetter: false) { Budget = 10 },
            new("sweep, requests to Azure Storage where nobody is overdue", "", [there.Sweep.Requests!.Value], MoreIsBetter: false) { Budget = 300, Note = $"{emulated}; one more for each 1,000 nodes that are overdue" },
            new("count, requests to Azure Storage for 1,000 nodes", "", [there.Count.Requests!.Value / (OnAzurite / 1000.0)], MoreIsBetter: false) { Budget = 3, Note = emulated },
            new("list of a few nodes in a state, requests to Azure Storage", "", [there.Lists.Where(static l => l.Pages == 1).Max(static l => l.Requests!.Value)], MoreIsBetter: false) { Note = emulated },
            Deleted(await FleetRetention.MeasureAsync(1000, Expired, onAzurite: false, cancel)),
            Asked(await FleetRetention.MeasureAsync(50, Expired, onAzurite: true, cancel)),
        ];
    }

    // An hour's lap over 100,000 machines that attest once a minute.
    private static Row Deleted(FleetRetention.Figures figures) => new("retention, verdicts deleted", "/s", [figures.Deleted / figures.Seconds], MoreIsBetter: true)
    {
        Budget = 100_000 * Expired / 3600.0,
        Note = $"SQLite; {figures.Nodes:N0} nodes, {figures.Deleted:N0} verdicts; the lap after it, with nothing expired: {Row.Say(figures.Nodes / figures.Next.Seconds)} nodes/s",
    };

    private static Row Asked(FleetRetention.Figures figures) => new("retention, requests to Azure Storage for a node", "", [(double)figures.Requests!.Values.Sum() / figures.Nodes], MoreIsBetter: false)
    {
        Note = $"counted on an emulator with {figures.Nodes:N0} nodes, {Expired} verdicts each; {(double)figures.Next.Requests / figures.Nodes:N2} where nothing has expired, all that comes once a lap among them",
    };
}
