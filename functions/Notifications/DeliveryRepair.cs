using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Notifications;

/// <summary>
/// Finds what waits in the outbox and nobody comes for: a process was killed between the row and the message, or the queue did not answer or was emptied. It puts the message that is missing. One too many does
/// nothing.
/// </summary>
internal sealed partial class DeliveryRepair(
    Webhooks webhooks, IOutbox outbox, Wakeups wakeups, PoisonedWork poisoned, ILeader leader, TimeProvider clock, ServiceOptions options, ILogger<DeliveryRepair> log) : BackgroundService
{
    private const int PageSize = 500;
    private const int MaxPages = 4; // behind so many that are not due yet, there is a receiver that is down, and a message of it

    // Where a queue is, messages are in it and come; in a process's memory they are gone after a start.
    private TimeSpan Grace => options.UsesAzure ? TimeSpan.FromMinutes(1) : TimeSpan.Zero;

    private TimeSpan Interval => options.UsesAzure ? TimeSpan.FromMinutes(1) : TimeSpan.FromSeconds(5);

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapTrigger<DeliveryRepair>("/trg-deliveries", "The timer's: find what waits for webhooks and has no message.", static (repair, cancel) => repair.RunAsync(cancel));

    public async Task RunAsync(CancellationToken cancel)
    {
        var before = clock.GetUtcNow() - Grace;
        foreach (var webhook in await webhooks.AllAsync(cancel))
        {
            if (await OldestAsync(webhook.Channel, before, cancel) is not { } due)
                continue;
            if (options.UsesAzure)
                LogFound(log, webhook.Name, due);
            await wakeups.WakeAtAsync(webhook.Channel, DateTimeOffset.MinValue, cancel);
        }

        if (!options.HostHandsOutWork)
            await poisoned.RunAsync(cancel);
    }

    /// <summary>Of the first delivery of a subject that has been due since before: what is behind it waits for it.</summary>
    private async Task<DateTimeOffset?> OldestAsync(string channel, DateTimeOffset before, CancellationToken cancel)
    {
        var subjects = new HashSet<string>();
        Continuation? after = null;
        for (var pages = 0; pages < MaxPages; pages++)
        {
            var page = await outbox.PendingAsync(channel, after, PageSize, cancel);
            foreach (var waiting in page.Items)
            {
                if (subjects.Add(waiting.Value.Event.Subject) && waiting.Value.DueAt <= before)
                    return waiting.Value.DueAt;
            }

            after = page.Next;
            if (after is null)
                break;
        }

        return null;
    }

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        options.HandlerPort is null ? leader.RepeatAsync("deliveries", Interval, clock, RunAsync, log, stoppingToken) : Task.CompletedTask; // the host's timer calls

    [LoggerMessage(Level = LogLevel.Information, Message = "Something has waited for {Webhook} since {Due}, perhaps without a message; it has one now")]
    private static partial void LogFound(ILogger log, string webhook, DateTimeOffset due);
}
