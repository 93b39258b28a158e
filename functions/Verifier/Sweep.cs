using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Functions.Telemetry;

namespace Keylime.Functions.Verifier;

/// <summary>
/// Tells of nodes that became overdue since the last sweep. What it tells follows from stored times, so that two sweeps, or one after a restart, tell the same
/// events once. It reads pages of the nodes that are overdue, and no other node.
/// </summary>
internal sealed class Sweep(
    INodeStore nodes, IEventStore events, Settlement settlement, UnreadableRows unreadable, Heartbeat heartbeat, FleetCount fleet, ILeader leader, TimeProvider clock, ServiceOptions options,
    ILogger<Sweep> log) : BackgroundService
{
    private const int PageSize = 1000;
    private static readonly TimeSpan Overlap = TimeSpan.FromMinutes(2); // clocks of several instances differ a little

    // What was told in the overlap: the store would take it twice, and it is not asked.
    private readonly Dictionary<string, DateTimeOffset> _told = [];
    private readonly SemaphoreSlim _one = new(1);

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapTrigger<Sweep>("/trg-sweep", "The timer's: tell of nodes that are overdue.", static (sweep, cancel) => sweep.RunAsync(cancel));

    /// <summary>One sweep.</summary>
    public async Task RunAsync(CancellationToken cancel)
    {
        using var span = Traces.Run("sweep");
        await _one.WaitAsync(cancel); // of this process; others sweep as they like
        try
        {
            await SweepAsync(cancel);
            await fleet.RunAsync(cancel);
        }
        finally
        {
            _one.Release();
        }
    }

    private async Task SweepAsync(CancellationToken cancel)
    {
        var state = await heartbeat.BeginAsync(cancel);
        var moment = heartbeat.MomentOf(state, clock.GetUtcNow());
        var from = After(state is null ? DateTimeOffset.MinValue : state.ToldTo < moment.Now ? state.ToldTo : moment.Now, -Overlap); // it may be of a time that was taken back
        foreach (var gap in moment.Gaps.Where(g => g.Until > from))
            await TellAsync(Describe(gap), from, cancel);

        // Nodes whose times a gap has put off stand where they stood.
        var since = moment.Gaps.Where(g => g.Down && After(g.Until, Nodes.NodeStates.LongestSilence) > from).Select(static g => g.From).Append(from).Min();
        var beaten = clock.GetTimestamp();
        Continuation? after = null;
        do
        {
            var page = await nodes.ListAsync(new NodeQuery(moment, OverdueSince: since), after, PageSize, cancel);
            foreach (var (node, happened) in page.Items.SelectMany(node => Standing.Overdue(node, moment).Where(e => e.At > from && !WasTold(e)).Select(happened => (node, happened))))
            {
                if (node.Open is null || await IsStillOverdueAsync(node, cancel))
                    await TellAsync(happened, from, cancel);
                if (clock.GetElapsedTime(beaten) < heartbeat.Interval)
                    continue;
                await heartbeat.BeatAsync(null, cancel); // a whole fleet may have much to tell
                beaten = clock.GetTimestamp();
            }

            after = page.Next;
        }
        while (after is not null);

        await unreadable.TellAsync(events, cancel);
        await heartbeat.BeatAsync(moment.Now, cancel);
        foreach (var key in _told.Where(t => t.Value <= After(moment.Now, -Overlap)).Select(static t => t.Key).ToArray())
            _told.Remove(key);
    }

    // Its last verdict may be in the history and not in its row: the service was killed between the two, and the agent has not come since.
    private async Task<bool> IsStillOverdueAsync(Node listed, CancellationToken cancel)
    {
        if (await nodes.FindAsync(listed.Id, cancel) is not { } stored)
            return false;
        var settled = await settlement.SettleAsync(stored, null, cancel);
        return settled.Value.Last == listed.Last; // otherwise settling told what there was to tell
    }

    private static string KeyOf(EventRecord happened) => $"{happened.Subject} {happened.Key}";

    private bool WasTold(EventRecord happened) => _told.ContainsKey(KeyOf(happened));

    private async Task TellAsync(EventRecord happened, DateTimeOffset from, CancellationToken cancel)
    {
        if (WasTold(happened))
            return;
        await events.AddAsync(happened, cancel);
        if (happened.At > from)
            _told[KeyOf(happened)] = happened.At;
    }

    private static EventRecord Describe(Gap gap) => EventRecord.Of(EventRecord.Service, gap.Until, EventTypes.ServiceGap, gap switch
    {
        { Down: true } => $"The service was away from {gap.From:u} to {gap.Until:u}: nodes that were due then have their time anew.",
        _ when gap.Until < gap.From => $"The clock went back from {gap.From:u} to {gap.Until:u}: silence of nodes that were judged before that is noticed later, by as much.",
        _ => $"No sweep ran from {gap.From:u} to {gap.Until:u}, and the service was there: what fell silent in that time is told now.",
    });

    private static DateTimeOffset After(DateTimeOffset time, TimeSpan length) =>
        length < TimeSpan.Zero && time - DateTimeOffset.MinValue < -length ? DateTimeOffset.MinValue : time + length;

    protected override Task ExecuteAsync(CancellationToken stoppingToken) => options.HandlerPort is null
        ? leader.RepeatAsync("sweep", heartbeat.Interval, clock, RunAsync, log, stoppingToken)
        : Task.CompletedTask; // the host's timer calls

    public override void Dispose()
    {
        _one.Dispose();
        base.Dispose();
    }
}
