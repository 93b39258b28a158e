using Keylime.Functions.Storage;
using Keylime.Functions.Telemetry;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Notifications;

/// <summary>
/// Delivers what waits in one channel. Events of one subject go out one after the other, and the later ones wait for the earlier; subjects go side by side.
/// A delivery is claimed before it is sent, by a write that hides it for a while: whoever is killed with it leaves it to the next, and no two send it at once. The order holds across
/// processes too: what another one has claimed stops its subject here, and whoever has delivered something looks again, for what others left because of it.
/// </summary>
/// <param name="places">Of all receivers together.</param>
internal sealed partial class Receiver(IOutbox outbox, IEventStore events, Courier courier, WebhookChanges changes, Instruments instruments, TimeProvider clock, ILogger<Receiver> log, SemaphoreSlim places)
{
    /// <summary>How long a claim hides a delivery: longer than any attempt.</summary>
    public static readonly TimeSpan Claim = TimeSpan.FromSeconds(30);

    /// <summary>After that long a round begins nothing more: a caller may give a call so much time and no more (host.json, functionTimeout).</summary>
    public static readonly TimeSpan LongestRound = TimeSpan.FromSeconds(30);

    private const int PageSize = 500;
    private const int MostSubjects = 4;
    private const int FailuresToPause = 3;
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan AfterOthers = TimeSpan.FromSeconds(5); // somebody else is at it, and will look after what is behind it

    private readonly Lock _gate = new();
    private Task<DateTimeOffset?> _work = Task.FromResult<DateTimeOffset?>(null);
    private bool _stands; // a round stands behind the one that runs
    private Webhook? _webhook; // as it was read last
    private long _pausedUntil; // ticks of UTC
    private volatile int _failures; // in a row
    private volatile bool _gone;
    private DateTimeOffset _goneVersion = DateTimeOffset.MinValue; // what was read of the webhook before it was disabled says nothing

    /// <summary>Whether a round stands behind the one that runs: it has not looked yet, and will see whatever is there by now.</summary>
    public bool Stands
    {
        get
        {
            lock (_gate)
                return _stands;
        }
    }

    /// <summary>
    /// Delivers what is due, after what is being done; as much of it as fits <see cref="LongestRound"/>. One round at most stands behind the one that runs: one has to, for what runs may have looked
    /// already where something was put just now.
    /// </summary>
    /// <returns>When somebody should look again; <see langword="null"/> if nothing waits.</returns>
    public Task<DateTimeOffset?> RunAsync(Webhook webhook, CancellationToken cancel)
    {
        lock (_gate)
        {
            _webhook = webhook; // the round that stands begins with what is known by then
            if (_stands)
                return _work;
            _stands = !_work.IsCompleted;
            return _work = AfterAsync(_work, _stands, cancel);
        }
    }

    private bool Pauses => _gone || Volatile.Read(ref _pausedUntil) > clock.GetUtcNow().UtcTicks;

    /// <summary>Until when nothing is begun: at once, where the receiver has gone, for then everything is over.</summary>
    private DateTimeOffset PausedUntil => _gone ? clock.GetUtcNow() : new DateTimeOffset(Volatile.Read(ref _pausedUntil), TimeSpan.Zero);

    private async Task<DateTimeOffset?> AfterAsync(Task before, bool stands, CancellationToken cancel)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ForceYielding); // whoever ran that was told; and nothing is done under the lock
        Webhook webhook;
        lock (_gate)
        {
            if (stands)
                _stands = false;
            webhook = _webhook!; // RunAsync
        }

        _gone = false;
        if (webhook.DisabledAt is null && webhook.UpdatedAt == _goneVersion)
            return clock.GetUtcNow() + Recent<Webhook>.Kept;
        if (webhook.DisabledAt is null && Pauses)
            return PausedUntil;

        var start = clock.GetTimestamp();
        Look look;
        do
        {
            look = new Look();
            await LookAsync(webhook, look, start, cancel);
        }
        while (look.Delivered && !Pauses && !IsLong(start));
        return look.Next;
    }

    private async Task LookAsync(Webhook webhook, Look look, long start, CancellationToken cancel)
    {
        var blocked = new HashSet<string>();
        Continuation? after = null;
        do
        {
            var page = await outbox.PendingAsync(webhook.Channel, after, PageSize, cancel);
            if (webhook.DisabledAt is not null)
            {
                foreach (var waiting in page.Items)
                    await SettleAsync(waiting, waiting.Value, DeliveryState.Dead, cancel);
            }
            else
            {
                var atOnce = new ParallelOptions { MaxDegreeOfParallelism = _failures > 0 ? 1 : MostSubjects, CancellationToken = cancel };
                var stopped = new System.Collections.Concurrent.ConcurrentBag<string>();
                await Parallel.ForEachAsync(page.Items.GroupBy(static d => d.Value.Event.Subject).Where(subject => !blocked.Contains(subject.Key)), atOnce, async (subject, stop) =>
                {
                    foreach (var waiting in subject)
                    {
                        if (IsLong(start) ? look.Later(clock.GetUtcNow()) : await DeliverAsync(webhook, waiting, look, stop))
                            continue;
                        stopped.Add(subject.Key);
                        break;
                    }
                });
                blocked.UnionWith(stopped);
            }

            after = page.Next;
            if (after is not null && webhook.DisabledAt is null && Pauses)
            {
                look.Later(PausedUntil);
                return;
            }

            if (after is not null && IsLong(start))
            {
                look.Later(clock.GetUtcNow());
                return;
            }
        }
        while (after is not null);
    }

    private bool IsLong(long start) => clock.GetElapsedTime(start) > LongestRound;
}
