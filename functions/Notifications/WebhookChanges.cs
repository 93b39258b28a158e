using Keylime.Functions.Storage;

namespace Keylime.Functions.Notifications;

/// <summary>
/// Changes of webhooks, each told. What was done last stands in the row, so whoever changes it next tells it first: a crash may have left that out, and the row
/// will not remember it.
/// </summary>
internal sealed class WebhookChanges(IRecordStore<Webhook> store, Webhooks known, IEventStore events, TimeProvider clock)
{
    private const int MaxTries = 5;

    /// <returns><see langword="false"/> if it has changed, gone or come since it was read; nothing was done.</returns>
    public async Task<bool> TryPutAsync(Stored<Webhook>? read, Webhook next, CancellationToken cancel)
    {
        if (read is not null)
            await TellAsync(read.Value);
        if (!(read is null ? await store.TryAddAsync(next, cancel) : await store.TryReplaceAsync(read, next, cancel)))
            return false;
        known.Forget();
        await TellAsync(next);
        return true;
    }

    /// <summary>Tells what was done last.</summary>
    public Task TellAsync(Webhook webhook) => webhook.Change == WebhookChange.Disabled ? Task.CompletedTask : events.AddAsync(
        EventRecord.OfWebhook(webhook.Name, webhook.UpdatedAt, EventTypes.WebhookChanged,
            $"The webhook '{webhook.Name}', to {webhook.Message.Url.Host}, was {(webhook.Change == WebhookChange.Put ? "put" : "given another secret")} by {webhook.UpdatedBy}."),
        CancellationToken.None);

    /// <summary>Sends nothing to it any more: its receiver says that it has gone. It is told before it is done, so that no crash leaves it untold.</summary>
    public async Task DisableAsync(Webhook webhook, CancellationToken cancel)
    {
        for (var tries = 0; tries < MaxTries; tries++)
        {
            if (await store.FindAsync(webhook.Name, cancel) is not { Value: { DisabledAt: null } now } read || now.Channel != webhook.Channel || now.Message.Url != webhook.Message.Url)
                return; // somebody else has done it, or it is another one by now
            await events.AddAsync(
                EventRecord.OfWebhook(webhook.Name, clock.GetUtcNow(), EventTypes.WebhookDisabled, $"The receiver of '{webhook.Name}', {webhook.Message.Url.Host}, answered 410: nothing is sent to it until it is put again."), cancel);
            if (await TryPutAsync(read, now with { DisabledAt = clock.GetUtcNow(), UpdatedAt = clock.GetUtcNow(), UpdatedBy = "its receiver", Change = WebhookChange.Disabled }, cancel))
                return;
        }

        throw new StorageUnavailableException($"The row of the webhook '{webhook.Name}' changed {MaxTries} times while it was to be disabled.");
    }
}
