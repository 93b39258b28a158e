using Keylime.Functions.Notices;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Notifications;

/// <summary>
/// Tells events: first into the outbox of every webhook that wants them and onto the board of notices, and then into the store. An event that is in the store is in the outboxes, or has
/// left them, and on the board; so one that is told again after a crash goes to nobody twice, and one that was told half goes to everybody.
/// </summary>
internal sealed class OutboxedEvents(
    [FromKeyedServices(StoreServices.EventRows)] IEventStore rows, Webhooks webhooks, GroupFilter groups, IOutbox outbox, NoticePosting notices, Wakeups wakeups,
    TimeProvider clock) : IEventStore
{
    public async Task AddAsync(EventRecord happened, CancellationToken cancel)
    {
        var wanted = new List<Webhook>();
        foreach (var webhook in (await webhooks.AllAsync(cancel)).Where(webhook => EventFilter.Lets(webhook, happened)))
        {
            if (await groups.LetsAsync(webhook, happened, cancel))
                wanted.Add(webhook);
        }

        var queued = new List<string>();
        var isNotice = NoticePosting.IsTold(happened);
        if ((wanted.Count > 0 || isNotice) && !await rows.IsToldAsync(happened, cancel))
        {
            var now = clock.GetUtcNow();
            foreach (var webhook in wanted)
            {
                if (await outbox.TryAddAsync(new Delivery { Channel = webhook.Channel, Event = happened, QueuedAt = now, DueAt = now }, cancel))
                    queued.Add(webhook.Channel);
            }

            if (isNotice)
                await notices.PostAsync(happened, cancel);
        }

        await rows.AddAsync(happened, cancel);
        foreach (var channel in queued)
            await wakeups.WakeAsync(channel, cancel); // behind all that must not be lost
    }

    public Task<bool> IsToldAsync(EventRecord happened, CancellationToken cancel) => rows.IsToldAsync(happened, cancel);

    public Task<int> DeleteBeforeAsync(DateTimeOffset before, int limit, CancellationToken cancel) => rows.DeleteBeforeAsync(before, limit, cancel);

    public Task<Page<EventRecord>> ListAsync(EventQuery query, Continuation? after, int limit, CancellationToken cancel) => rows.ListAsync(query, after, limit, cancel);
}
