using Keylime.Functions.Storage;
using Keylime.Functions.Telemetry;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Notifications;

/// <summary>
/// Delivers what waits in one channel. Events of one subject go out one after the other, and the later ones wait for the earlier; subjects go side by side.
/// A delivery is claimed before it is sent, by a write that hides it for a while: whoever is killed with it leaves it to the next, and no two send it at once.
/// </summary>
/// <param name="places">Of all receivers together.</param>
internal sealed partial class Receiver(IOutbox outbox, IEventStore events, Courier courier, WebhookChanges changes, Instruments instruments, TimeProvider clock, ILogger<Receiver> log, SemaphoreSlim places)
{
    /// <summary>How long a claim hides a delivery: longer than any attempt.</summary>
    public static readonly TimeSpan Claim = TimeSpan.FromSeconds(60);

    private const int PageSize = 500;
    private const int MostSubjects = 4;
    private const int FailuresToPause = 3;
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(60);

    private readonly Lock _gate = new();
    private Task _work = Task.CompletedTask;
    private bool _waits; // a round stands behind the one that runs
    private long _pausedUntil; // ticks of UTC
    private volatile int _failures; // in a row
    private volatile bool _gone;
    private DateTimeOffset _goneVersion = DateTimeOffset.MinValue; // what was read of the webhook before it was disabled says nothing

    /// <summary>Delivers all that is due, after what is being done.</summary>
    public Task RunAsync(Webhook webhook, CancellationToken cancel)
    {
        lock (_gate)
        {
            _waits = !_work.IsCompleted;
            return _work = AfterAsync(_work, webhook, cancel);
        }
    }

    /// <summary>
    /// The same for whoever does not wait: one round at most stands behind the one that runs. One has to, for what runs may have looked already where something
    /// was put just now.
    /// </summary>
    /// <returns><see langword="null"/> where one stands there.</returns>
    public Task? Start(Webhook webhook, CancellationToken cancel)
    {
        lock (_gate)
            return _waits ? null : RunAsync(webhook, cancel);
    }

    private bool Pauses => _gone || Volatile.Read(ref _pausedUntil) > clock.GetUtcNow().UtcTicks;

    private async Task AfterAsync(Task before, Webhook webhook, CancellationToken cancel)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ForceYielding); // whoever ran that was told; and nothing is done under the lock
        lock (_gate)
            _waits = false;
        _gone = false;
        if (webhook.DisabledAt is null && (webhook.UpdatedAt == _goneVersion || Pauses))
            return;

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
                        if (await DeliverAsync(webhook, waiting, stop))
                            continue;
                        stopped.Add(subject.Key);
                        break;
                    }
                });
                blocked.UnionWith(stopped);
            }

            after = page.Next;
        }
        while (after is not null && (webhook.DisabledAt is not null || !Pauses));
    }

    /// <returns>Whether it is over, and the subject's next one may go.</returns>
    private async Task<bool> DeliverAsync(Webhook webhook, Stored<Delivery> waiting, CancellationToken cancel)
    {
        await places.WaitAsync(cancel);
        try
        {
            var now = clock.GetUtcNow();
            if (Pauses || waiting.Value.DueAt > now)
                return false;
            if (_failures >= FailuresToPause && IsOld(waiting.Value, now))
                return await GiveUpAsync(webhook, waiting, waiting.Value, cancel); // nobody is there, and so it was for three days
            if (await outbox.TryReplaceAsync(waiting, waiting.Value with { DueAt = now + Claim, Attempts = waiting.Value.Attempts + 1, AttemptedAt = now }, cancel) is not { } claimed)
                return false;

            var attempt = await courier.SendAsync(webhook, claimed.Value.Event, cancel);
            var tried = claimed.Value with { Status = attempt.Status, Error = attempt.Error, Milliseconds = (long)attempt.Took.TotalMilliseconds };
            if (attempt.Delivered)
            {
                _failures = 0;
                await SettleAsync(claimed, tried, DeliveryState.Delivered, cancel);
                return true;
            }

            if (attempt.Gone)
            {
                _gone = true;
                await changes.DisableAsync(webhook, cancel);
                _goneVersion = webhook.UpdatedAt;
                await SettleAsync(claimed, tried, DeliveryState.Dead, cancel);
                return false;
            }

            return await FailedAsync(webhook, claimed, tried, attempt, cancel);
        }
        finally
        {
            places.Release();
        }
    }

    private async Task<bool> FailedAsync(Webhook webhook, Stored<Delivery> claimed, Delivery tried, Attempt attempt, CancellationToken cancel)
    {
        var now = clock.GetUtcNow();
        instruments.Delivery("failed");

        // What it has against one message says nothing of the next; that it is down, or overloaded, does.
        if (attempt.Status is null or >= 500 or StatusCodes.Status429TooManyRequests or StatusCodes.Status408RequestTimeout)
        {
            var failures = Interlocked.Increment(ref _failures);
            var pause = failures < FailuresToPause ? TimeSpan.Zero : Backoff.After(failures) is var longer && longer < LongestPause ? longer : LongestPause;
            if (attempt.RetryAfter is { } asked && asked > pause)
                pause = asked < Backoff.LongestRetryAfter ? asked : Backoff.LongestRetryAfter;
            if ((now + pause).UtcTicks is var until && until > Volatile.Read(ref _pausedUntil))
                Volatile.Write(ref _pausedUntil, until);
        }

        if (IsOld(tried, now))
            return await GiveUpAsync(webhook, claimed, tried, cancel);
        var (due, last) = (now + Backoff.After(tried.Attempts, attempt.RetryAfter), tried.QueuedAt + Backoff.GiveUpAfter);
        await outbox.TryReplaceAsync(claimed, tried with { DueAt = due < last ? due : last }, cancel);
        return false;
    }

    private async Task<bool> GiveUpAsync(Webhook webhook, Stored<Delivery> read, Delivery tried, CancellationToken cancel)
    {
        // What is told of webhooks tells nothing more when it is given up itself: of two dead receivers that would never end.
        if (!tried.Event.Subject.StartsWith(EventRecord.WebhookPrefix, StringComparison.Ordinal))
        {
            await events.AddAsync(EventRecord.OncePerMinute(EventRecord.WebhookPrefix + webhook.Name, tried.QueuedAt + Backoff.GiveUpAfter, EventTypes.WebhookDeadLettered,
                $"The webhook '{webhook.Name}' did not take '{tried.Event.Type}' of '{tried.Event.Subject}' for three days, in {tried.Attempts} attempts; the last gave {LastOf(tried)}"), cancel);
        }

        await SettleAsync(read, tried, DeliveryState.Dead, cancel);
        LogGivenUp(log, webhook.Name, tried.Event.Type, tried.Event.Subject, tried.Attempts);
        return true;
    }

    private async Task SettleAsync(Stored<Delivery> read, Delivery tried, DeliveryState state, CancellationToken cancel)
    {
        if (await outbox.TrySettleAsync(read, tried with { State = state, SettledAt = clock.GetUtcNow() }, cancel))
            instruments.Delivery(state == DeliveryState.Delivered ? "delivered" : "dead");
    }

    private static string LastOf(Delivery tried) => tried switch
    {
        { Error: { } error } => error,
        { Status: { } status } => $"status {status}.",
        _ => "nothing: its receiver did not answer, to other messages.",
    };

    private static bool IsOld(Delivery delivery, DateTimeOffset now) => now >= delivery.QueuedAt + Backoff.GiveUpAfter;

    // An alert on Azure looks for these words (infra/modules/monitoring.bicep).
    [LoggerMessage(Level = LogLevel.Warning, Message = "Gave up delivering to {Webhook}: it did not take '{Type}' of '{Subject}' in {Attempts} attempts")]
    private static partial void LogGivenUp(ILogger log, string webhook, string type, string subject, int attempts);
}
