using System.Security.Cryptography;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Notifications;

/// <summary>
/// Tells of messages of the queue of deliveries that failed too often. What they are about is in the outbox, where the repair finds it; what is no message of ours is kept as it is, for whoever
/// looks into it.
/// </summary>
internal sealed partial class PoisonedWork(DeliveryQueues queues, Webhooks webhooks, IBlobStore blobs, IEventStore events, TimeProvider clock, ILogger<PoisonedWork> log)
{
    private const int Most = 32;
    private static readonly TimeSpan Hidden = TimeSpan.FromMinutes(1);

    /// <summary>Tells of those that are there, where no Functions host hands them out.</summary>
    public async Task RunAsync(CancellationToken cancel)
    {
        foreach (var item in await queues.Poison.TakeAsync(Most, Hidden, cancel))
        {
            await TellAsync(item.Message, cancel);
            await queues.Poison.TryFinishAsync(item, cancel); // killed before this, it is told again
        }
    }

    public async Task TellAsync(ReadOnlyMemory<byte> message, CancellationToken cancel)
    {
        string what;
        if (DeliveryWork.TryRead(message.Span, out var work, out var why))
        {
            var name = (await webhooks.AllAsync(cancel)).FirstOrDefault(w => w.Channel == work.Channel)?.Name;
            what = name is null ? "a webhook that is no more" : $"the webhook '{name}'";
            what = $"A message to deliver to {what} failed too often. What waits is in the outbox, and is tried again.";
        }
        else
        {
            what = $"A message in the queue of deliveries is none of ours: {why} Its {message.Length} bytes are kept as the blob {await blobs.PutAsync(message, cancel)}.";
        }

        // Once a minute of the same words: they name no secret, and nothing that a stranger chose.
        var cause = Convert.ToHexStringLower(SHA256.HashData(message.Span).AsSpan(0, 8));
        await events.AddAsync(EventRecord.OncePerMinute(EventRecord.Service, clock.GetUtcNow(), EventTypes.WorkPoisoned, what, cause), cancel);
        LogPoisoned(log, what);
    }

    // An alert on Azure looks for these words (infra/modules/monitoring.bicep).
    [LoggerMessage(Level = LogLevel.Warning, Message = "Poisoned in the queue of deliveries: {What}")]
    private static partial void LogPoisoned(ILogger log, string what);
}
