using Keylime.Functions.Hosting;
using Keylime.Functions.Nodes;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Notifications;

/// <summary><c>POST /v1/webhooks/{name}/…</c>: a test message, another secret, and events that are sent once more.</summary>
internal static class WebhookActionRoutes
{
    private const int MaxTries = 3;
    private const int DefaultFormerHours = 24;
    private const int MaxReplay = 10_000;
    private const int PageSize = 1000;
    private const string TestType = "webhook.test"; // no event that is kept

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/v1/webhooks/{name}/test", TestAsync).Under(
            new(Caller.Operator, ApiFamily.Own), new("Send a test message, and tell what the receiver answers.", null, ApiJson.Default.WebhookTrial));
        routes.MapPost("/v1/webhooks/{name}/rotate", RotateAsync).Under(
            new(Caller.Operator, ApiFamily.Own, RouteRules.WebhookBody), new("Give a webhook another secret; the former one signs too for a while.", ApiJson.Default.RotateWebhook, ApiJson.Default.NamedWebhook));
        routes.MapPost("/v1/webhooks/{name}/replay", ReplayAsync).Under(
            new(Caller.Operator, ApiFamily.Own), new("Send the events since a moment once more, with the ids that they had.", null, ApiJson.Default.ReplayedEvents, StatusCodes.Status202Accepted)
            { Query = [QueryParameters.Since] });
    }

    private static async Task<IResult> TestAsync(string name, HttpContext context, WebhookRoutes.Dependencies use, Courier courier, CancellationToken cancel)
    {
        if (await WebhookRoutes.FindAsync(use.Store, name, cancel) is not { Value: var webhook })
            return WebhookRoutes.NotFound();
        var test = EventRecord.OfWebhook(name, use.Clock.GetUtcNow(), TestType, $"A test message, asked for by {context.CallerName()}.", $"{Guid.NewGuid():N}");
        var attempt = await courier.SendAsync(webhook, test, cancel);
        return Answer.Json(
            StatusCodes.Status200OK, new WebhookTrial(attempt.Delivered, (long)attempt.Took.TotalMilliseconds) { Status = attempt.Status, Error = attempt.Error }, ApiJson.Default.WebhookTrial);
    }

    private static async Task<IResult> RotateAsync(string name, HttpContext context, WebhookRoutes.Dependencies use, CancellationToken cancel)
    {
        if (!(await RequestBody.ReadJsonAsync(context, ApiJson.Default.RotateWebhook, cancel)).TryGet(out var rotate, out var unread))
            return unread;
        if (rotate.FormerHours is < 0 or > 168)
            return WebhookRoutes.Bad($"formerHours: {rotate.FormerHours} is not from 0 to 168.");
        if (!StandardWebhooks.TryReadSecret(rotate.Secret, out var given))
            return WebhookRoutes.Bad($"secret: {StandardWebhooks.ExpectedSecret}");

        for (var tries = 0; tries < MaxTries; tries++)
        {
            if (await WebhookRoutes.FindAsync(use.Store, name, cancel) is not { } stored)
                return WebhookRoutes.NotFound();
            var now = use.Clock.GetUtcNow();
            var made = given is null ? StandardWebhooks.MakeSecret() : null;

            // The receiver may know only the secret before the last rotation, whose answer may have been lost: that one stays, and no third one signs.
            var former = stored.Value.FormerUntil > now ? stored.Value.SealedFormerSecret : stored.Value.SealedSecret;
            var next = stored.Value with
            {
                SealedSecret = use.Keys.Seal(Courier.SecretPurpose, (given ?? made)!),
                SealedFormerSecret = former,
                FormerUntil = now.AddHours(rotate.FormerHours ?? DefaultFormerHours),
                UpdatedAt = now,
                UpdatedBy = context.CallerName(),
                Change = WebhookChange.Rotated,
            };
            if (await use.Changes.TryPutAsync(stored, next, cancel))
                return Answer.Json(StatusCodes.Status200OK, WebhookRoutes.Describe(next, made), ApiJson.Default.NamedWebhook);
        }

        return WebhookRoutes.Conflict();
    }

    private static async Task<IResult> ReplayAsync(
        string name, HttpContext context, WebhookRoutes.Dependencies use, GroupFilter groups, Wakeups wakeups, CancellationToken cancel)
    {
        if (!ListEvents.TryReadTime(context.Request.Query["since"], out var since) || since is null)
            return WebhookRoutes.Bad("since: a time is expected, 2026-11-24T12:00:00Z.");
        if (await WebhookRoutes.FindAsync(use.Store, name, cancel) is not { Value: var webhook })
            return WebhookRoutes.NotFound();
        if (webhook.DisabledAt is not null)
            return new Refusal(StatusCodes.Status409Conflict, "webhook_disabled", "Its receiver answered 410, so nothing is sent to it.") { Hint = "Put it again first: keylime webhook add." };

        var wanted = new List<EventRecord>();
        Continuation? after = null;
        do
        {
            var page = await use.Events.ListAsync(new EventQuery(Since: since), after, PageSize, cancel);
            foreach (var happened in page.Items.Where(e => EventFilter.Lets(webhook, e)))
            {
                if (await groups.LetsAsync(webhook, happened, cancel))
                    wanted.Add(happened);
            }

            after = page.Next;
        }
        while (after is not null && wanted.Count <= MaxReplay);
        if (wanted.Count > MaxReplay)
            return WebhookRoutes.Bad($"since: more than {MaxReplay} events came since then; choose a later time.");

        var now = use.Clock.GetUtcNow();
        foreach (var happened in Enumerable.Reverse(wanted))
            await use.Outbox.TryAddAsync(new Delivery { Channel = webhook.Channel, Event = happened, QueuedAt = now, DueAt = now }, cancel); // what waits already is on its way
        await wakeups.WakeAsync(webhook.Channel, cancel);
        return Answer.Json(StatusCodes.Status202Accepted, new ReplayedEvents(wanted.Count), ApiJson.Default.ReplayedEvents);
    }
}
