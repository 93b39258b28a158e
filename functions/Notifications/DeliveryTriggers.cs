using Keylime.Functions.Hosting;

namespace Keylime.Functions.Notifications;

/// <summary>The routes that the Functions host calls with messages of the queue of deliveries, and with those that it has poisoned (functions/triggers).</summary>
internal static class DeliveryTriggers
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapQueueTrigger("/trg-delivery", "The queue's: deliver what waits in a webhook's channel.", static async (services, message, cancel) =>
        {
            if (!DeliveryWork.TryRead(message.Span, out var work, out var why))
                return $"The message is none of ours: {why}"; // another program of ours may know it; and in the end it is poisoned
            await services.GetRequiredService<Dispatcher>().DoAsync(work, cancel);
            return null;
        });
        routes.MapQueueTrigger("/trg-poison", "The poison queue's: tell of a message that failed too often.", static async (services, message, cancel) =>
        {
            await services.GetRequiredService<PoisonedWork>().TellAsync(message, cancel);
            return null;
        });
    }
}
