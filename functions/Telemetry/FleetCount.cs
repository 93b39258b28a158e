using Keylime.Functions.Nodes;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Telemetry;

/// <summary>
/// Counts the whole fleet, for its gauges: by one instance, once in five minutes, into a row that every instance reads when it sweeps. It reads a few columns of each node, 1,000 nodes a request, and
/// no row of one node; no request of an agent waits for it.
/// </summary>
internal sealed class FleetCount(
    INodeStore nodes, IOutbox outbox, IRecordStore<Webhook> webhooks, IRecordStore<TimerState> timers, Heartbeat heartbeat, TimeProvider clock)
{
    public const string Name = "fleet";

    /// <summary>From one count to the next.</summary>
    public static readonly TimeSpan Pace = TimeSpan.FromMinutes(5);

    private const int PageSize = 1000;

    // What is older says nothing of the fleet of now.
    private static readonly TimeSpan Kept = 2 * Pace + TimeSpan.FromMinutes(2);

    private Fleet? _known;

    /// <summary>The last count; <see langword="null"/> where there is none that is of now.</summary>
    public Fleet? Current => Volatile.Read(ref _known) is { } known && (clock.GetUtcNow() - known.At).Duration() <= Kept ? known : null;

    /// <summary>Reads what was counted, and counts where that is due and nobody else is at it.</summary>
    public async Task RunAsync(CancellationToken cancel)
    {
        var row = await FindAsync(cancel);
        var now = clock.GetUtcNow();
        if (row is { Value: var last } && (now - last.At).Duration() < Pace)
        {
            Volatile.Write(ref _known, last.Fleet);
            return;
        }

        // Whoever writes the time counts. Killed at it, it leaves the former count, and the next one comes after as long as ever.
        var claimed = (row?.Value ?? new TimerState { Name = Name, At = now }) with { At = now };
        if (!(row is null ? await timers.TryAddAsync(claimed, cancel) : await timers.TryReplaceAsync(row, claimed, cancel)))
            return;
        var fleet = await CountAsync(now, cancel);
        Volatile.Write(ref _known, fleet);
        if (await FindAsync(cancel) is { Value.At: var at } mine && at == now)
            await timers.TryReplaceAsync(mine, mine.Value with { Fleet = fleet }, cancel);
    }

    private async Task<Fleet> CountAsync(DateTimeOffset now, CancellationToken cancel)
    {
        var counts = Enum.GetValues<NodeState>().ToDictionary(static state => state, static _ => 0L);
        var moment = await heartbeat.NowAsync(cancel);
        DateTimeOffset? oldest = null;
        var beaten = clock.GetTimestamp();
        Continuation? after = null;
        do
        {
            var page = await nodes.ListTimesAsync(after, PageSize, cancel);
            foreach (var node in page.Items)
            {
                counts[NodeStates.Of(node, moment)]++;
                if (node is { Retired: false, JudgedAt: { } judged } && !(judged >= oldest))
                    oldest = judged;
            }

            if (clock.GetElapsedTime(beaten) >= heartbeat.Interval)
            {
                await heartbeat.BeatAsync(null, cancel); // while it counts nobody sweeps here, and that is no gap
                beaten = clock.GetTimestamp();
            }

            after = page.Next;
        }
        while (after is not null);

        var (waiting, first) = (0L, (DateTimeOffset?)null);
        foreach (var webhook in await webhooks.AllAsync(cancel))
        {
            var depth = await outbox.DepthAsync(webhook.Channel, cancel);
            waiting += depth.Count;
            if (depth.Oldest is { } queued && !(queued >= first))
                first = queued;
        }

        return new Fleet(now, counts.ToDictionary(static c => NameOf(c.Key), static c => c.Value), oldest, waiting, first);
    }

    public static string NameOf(NodeState state) => state.ToString().ToLowerInvariant();

    // A row that nobody can read is reported, and counts for none.
    private async Task<Stored<TimerState>?> FindAsync(CancellationToken cancel)
    {
        try
        {
            return await timers.FindAsync(Name, cancel);
        }
        catch (UnreadableRowException)
        {
            return null;
        }
    }
}
