using Keylime.Functions.Storage;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Notifications;

/// <summary>One delivery: claimed, sent, and settled or put off.</summary>
internal sealed partial class Receiver
{
    /// <returns>Whether it is over, and the subject's next one may go.</returns>
    private async Task<bool> DeliverAsync(Webhook webhook, Stored<Delivery> waiting, Look look, CancellationToken cancel)
    {
        await places.WaitAsync(cancel);
        try
        {
            var now = clock.GetUtcNow();
            if (Pauses)
                return look.Later(PausedUntil);
            if (waiting.Value.DueAt > now)
                return look.Later(waiting.Value.DueAt);
            if (_failures >= FailuresToPause && IsOld(waiting.Value, now))
                return await GiveUpAsync(webhook, waiting, waiting.Value, look, cancel); // nobody is there, and so it was for three days
            var start = clock.GetTimestamp();
            if (await outbox.TryReplaceAsync(waiting, waiting.Value with { DueAt = now + Claim, Attempts = waiting.Value.Attempts + 1, AttemptedAt = now }, cancel) is not { } claimed)
                return look.Later(now + AfterOthers);

            // A process that slept over its claim sends nothing that another one may have claimed by now.
            if (clock.GetElapsedTime(start) > Claim - 2 * Courier.Timeout)
                return look.Later(claimed.Value.DueAt);
            var attempt = await courier.SendAsync(webhook, claimed.Value.Event, cancel);
            var tried = claimed.Value with { Status = attempt.Status, Error = attempt.Error, Milliseconds = (long)attempt.Took.TotalMilliseconds };
            if (attempt.Delivered)
            {
                _failures = 0;
                await SettleAsync(claimed, tried, DeliveryState.Delivered, cancel);
                look.Went();
                return true;
            }

            if (attempt.Gone)
            {
                _gone = true;
                await changes.DisableAsync(webhook, cancel);
                _goneVersion = webhook.UpdatedAt;
                await SettleAsync(claimed, tried, DeliveryState.Dead, cancel);
                return look.Later(clock.GetUtcNow());
            }

            return await FailedAsync(webhook, claimed, tried, attempt, look, cancel);
        }
        finally
        {
            places.Release();
        }
    }

    private async Task<bool> FailedAsync(Webhook webhook, Stored<Delivery> claimed, Delivery tried, Attempt attempt, Look look, CancellationToken cancel)
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
            return await GiveUpAsync(webhook, claimed, tried, look, cancel);
        var (due, last) = (now + Backoff.After(tried.Attempts, attempt.RetryAfter), tried.QueuedAt + Backoff.GiveUpAfter);
        var again = due < last ? due : last;
        await outbox.TryReplaceAsync(claimed, tried with { DueAt = again }, cancel);
        return look.Later(again);
    }

    private async Task<bool> GiveUpAsync(Webhook webhook, Stored<Delivery> read, Delivery tried, Look look, CancellationToken cancel)
    {
        // What is told of webhooks tells nothing more when it is given up itself: of two dead receivers that would never end.
        if (!tried.Event.Subject.StartsWith(EventRecord.WebhookPrefix, StringComparison.Ordinal))
        {
            await events.AddAsync(EventRecord.OncePerMinute(EventRecord.WebhookPrefix + webhook.Name, tried.QueuedAt + Backoff.GiveUpAfter, EventTypes.WebhookDeadLettered,
                $"The webhook '{webhook.Name}' did not take '{tried.Event.Type}' of '{tried.Event.Subject}' for three days, in {tried.Attempts} attempts; the last gave {LastOf(tried)}"), cancel);
        }

        await SettleAsync(read, tried, DeliveryState.Dead, cancel);
        look.Went();
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
