using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Notifications;

/// <summary><c>GET /v1/webhooks/{name}/deliveries</c> and <c>…/pending</c>: what a receiver got, and what it waits for.</summary>
internal static class DeliveryRoutes
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        var rules = new RouteRules(Caller.Readers, ApiFamily.Own);
        routes.MapGet("/v1/webhooks/{name}/deliveries", LedgerAsync).Under(rules, new("What was delivered to a webhook, or given up; newest first.", null, ApiJson.Default.DeliveryList) { Query = QueryParameters.Pages });
        routes.MapGet("/v1/webhooks/{name}/pending", PendingAsync).Under(rules, new("What waits for a webhook, oldest first.", null, ApiJson.Default.DeliveryList) { Query = QueryParameters.Pages });
    }

    private static async Task<IResult> LedgerAsync(string name, HttpContext context, IRecordStore<Webhook> store, IOutbox outbox, CancellationToken cancel)
    {
        if (!Paging.TryRead(context.Request.Query["after"], context.Request.Query["limit"], out var start, out var count, out var refusal))
            return refusal;
        if (await WebhookRoutes.FindAsync(store, name, cancel) is not { Value: var webhook })
            return WebhookRoutes.NotFound();
        var page = await outbox.LedgerAsync(webhook.Channel, start, count, cancel);
        return Write(page.Items, page.Next);
    }

    private static async Task<IResult> PendingAsync(string name, HttpContext context, IRecordStore<Webhook> store, IOutbox outbox, CancellationToken cancel)
    {
        if (!Paging.TryRead(context.Request.Query["after"], context.Request.Query["limit"], out var start, out var count, out var refusal))
            return refusal;
        if (await WebhookRoutes.FindAsync(store, name, cancel) is not { Value: var webhook })
            return WebhookRoutes.NotFound();
        var page = await outbox.PendingAsync(webhook.Channel, start, count, cancel);
        return Write(page.Items.Select(static d => d.Value), page.Next);
    }

    private static Answer<DeliveryList> Write(IEnumerable<Delivery> deliveries, Continuation? next) => Answer.Json(
        StatusCodes.Status200OK, new DeliveryList([.. deliveries.Select(Describe)]) { Next = next?.ToString() }, ApiJson.Default.DeliveryList);

    private static DeliveryMessage Describe(Delivery delivery) =>
        new(delivery.Event.GlobalId, delivery.Event.Type, delivery.Event.Subject, delivery.Event.At, delivery.State, delivery.Attempts, delivery.QueuedAt)
        {
            AttemptedAt = delivery.AttemptedAt,
            DueAt = delivery.State == DeliveryState.Pending ? delivery.DueAt : null,
            SettledAt = delivery.SettledAt,
            Status = delivery.Status,
            Error = delivery.Error,
            Milliseconds = delivery.Milliseconds,
        };
}
