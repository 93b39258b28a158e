using System.Text.Json;
using Keylime.Functions.Hosting;
using Keylime.Functions.Keys;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Notifications;

/// <summary><c>/v1/webhooks</c>: who is told of events.</summary>
internal static class WebhookRoutes
{
    private const int MaxTries = 3;
    private const int PageSize = 1000;
    private const int MaxEvents = 64;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPut("/v1/webhooks/{name}", PutAsync).Under(
            new(Caller.Operator, ApiFamily.Own, RouteRules.WebhookBody), new("Put a webhook: where events are sent to.", ApiJson.Default.WebhookMessage, ApiJson.Default.NamedWebhook));
        routes.MapGet("/v1/webhooks", ListAsync).Under(new(Caller.Readers, ApiFamily.Own), new("All webhooks, without their secrets.", null, ApiJson.Default.WebhookList));
        routes.MapGet("/v1/webhooks/{name}", GetAsync).Under(new(Caller.Readers, ApiFamily.Own), new("A webhook, without its secret.", null, ApiJson.Default.NamedWebhook));
        routes.MapDelete("/v1/webhooks/{name}", DeleteAsync).Under(
            new(Caller.Operator, ApiFamily.Own), new("Remove a webhook; what waits for it is dropped.", Status: StatusCodes.Status204NoContent));
    }

    /// <summary>What the handlers work with.</summary>
    internal sealed record Dependencies(
        IRecordStore<Webhook> Store, Webhooks Known, WebhookChanges Changes, IOutbox Outbox, IEventStore Events, IKeyRing Keys, ServiceOptions Options, TimeProvider Clock);

    private static async Task<IResult> PutAsync(string name, HttpContext context, Dependencies use, CancellationToken cancel)
    {
        if (!AgentId.TryParse(name, null, out _))
            return Bad("name: 1 to 80 of A-Z a-z 0-9 _ . - are expected.");
        if (!(await RequestBody.ReadJsonAsync(context, ApiJson.Default.WebhookMessage, cancel)).TryGet(out var message, out var unread))
            return unread;
        if (Objection(message, use.Options) is { } objection)
            return Bad(objection);
        if (!StandardWebhooks.TryReadSecret(message.Secret, out var secret))
            return Bad($"secret: {StandardWebhooks.ExpectedSecret}");

        var kept = message with { Secret = null };
        for (var tries = 0; tries < MaxTries; tries++)
        {
            var stored = await FindAsync(use.Store, name, cancel);
            if (stored?.Value is { DisabledAt: null } there && secret is null && Same(there.Message, kept))
            {
                await use.Changes.TellAsync(there); // nothing changes, and what a crash left out is told
                return Answer.Json(StatusCodes.Status200OK, Describe(there), ApiJson.Default.NamedWebhook);
            }

            var made = secret is null && stored is null ? StandardWebhooks.MakeSecret() : null;
            var now = use.Clock.GetUtcNow();
            var who = context.CallerName();
            var next = (stored?.Value ?? new Webhook
            {
                Name = name,
                Channel = $"{Guid.NewGuid():N}",
                Message = kept,
                SealedSecret = default,
                CreatedAt = now,
                CreatedBy = who,
                UpdatedAt = now,
                UpdatedBy = who,
                Change = WebhookChange.Put,
            }) with
            { Message = kept, UpdatedAt = now, UpdatedBy = who, Change = WebhookChange.Put, DisabledAt = null };
            if ((secret ?? made) is { } plain)
                next = next with { SealedSecret = use.Keys.Seal(Courier.SecretPurpose, plain), SealedFormerSecret = default, FormerUntil = null };
            if (await use.Changes.TryPutAsync(stored, next, cancel))
                return Answer.Json(StatusCodes.Status200OK, Describe(next, made), ApiJson.Default.NamedWebhook);
        }

        return Conflict();
    }

    private static async Task<IResult> ListAsync(IRecordStore<Webhook> store, CancellationToken cancel) => Answer.Json(
        StatusCodes.Status200OK, new WebhookList([.. (await store.AllAsync(cancel)).Select(static w => Describe(w))]), ApiJson.Default.WebhookList);

    private static async Task<IResult> GetAsync(string name, IRecordStore<Webhook> store, CancellationToken cancel) =>
        await FindAsync(store, name, cancel) is { } stored ? Answer.Json(StatusCodes.Status200OK, Describe(stored.Value), ApiJson.Default.NamedWebhook) : NotFound();

    private static async Task<IResult> DeleteAsync(string name, HttpContext context, Dependencies use, CancellationToken cancel)
    {
        while (await FindAsync(use.Store, name, cancel) is { } stored)
        {
            await use.Changes.TellAsync(stored.Value);
            await use.Events.AddAsync(EventRecord.OfWebhook(name, use.Clock.GetUtcNow(), EventTypes.WebhookChanged, $"The webhook '{name}' is removed by {context.CallerName()}.", "removed"), cancel);
            if (!await use.Store.TryDeleteAsync(stored, cancel))
                continue;
            use.Known.Forget();
            await DropAsync(stored.Value.Channel, use.Outbox, cancel);
            return TypedResults.NoContent();
        }

        return NotFound();
    }

    // Nobody looks into a channel that no webhook has: what a crash leaves there is never sent.
    private static async Task DropAsync(string channel, IOutbox outbox, CancellationToken cancel)
    {
        Continuation? after = null;
        do
        {
            var page = await outbox.PendingAsync(channel, after, PageSize, cancel);
            foreach (var waiting in page.Items)
                await outbox.TryDropAsync(waiting, cancel);
            after = page.Next;
        }
        while (after is not null);

        // Its ledger has no name any more that anybody could ask by.
        while (await outbox.DeleteBeforeAsync(channel, DateTimeOffset.MaxValue, PageSize, cancel) == PageSize)
        {
        }
    }

    private static string? Objection(WebhookMessage webhook, ServiceOptions options) => webhook switch
    {
        _ when !Outbound.MayBeKept(webhook.Url, options) => "url: an https URL without a user's name is expected.",
        { Url.AbsoluteUri.Length: > 2048 } => "url: it is longer than 2048 characters.",
        { Events.Count: > MaxEvents } => $"events: {webhook.Events.Count} of them, where {MaxEvents} at most are expected.",
        { Events: { } events } when events.FirstOrDefault(static e => !EventFilter.IsKnown(e)) is { } unknown =>
            $"events: '{(unknown.Length <= 100 ? unknown : unknown[..100])}' is no type of events and no family of them: node.failed or node.* are.",
        { Nodes: { } prefix } when !AgentId.TryParse(prefix, null, out _) => "nodes: the start of a node's id is expected, 1 to 80 of A-Z a-z 0-9 _ . -",
        { Group: { } group } when !AgentId.TryParse(group, null, out _) => "group: the name of a group of nodes is expected, 1 to 80 of A-Z a-z 0-9 _ . -",
        _ => null,
    };

    private static bool Same(WebhookMessage one, WebhookMessage other) =>
        JsonSerializer.SerializeToUtf8Bytes(one, ApiJson.Default.WebhookMessage).AsSpan().SequenceEqual(JsonSerializer.SerializeToUtf8Bytes(other, ApiJson.Default.WebhookMessage));

    /// <returns><see langword="null"/> too where it is no name at all.</returns>
    public static async Task<Stored<Webhook>?> FindAsync(IRecordStore<Webhook> store, string name, CancellationToken cancel) =>
        AgentId.TryParse(name, null, out _) ? await store.FindAsync(name, cancel) : null;

    /// <param name="made">A secret that was made just now: it is told this once.</param>
    public static NamedWebhook Describe(Webhook webhook, byte[]? made = null) => new(
        webhook.Name, made is null ? webhook.Message : webhook.Message with { Secret = StandardWebhooks.WriteSecret(made) }, webhook.CreatedAt, webhook.CreatedBy, webhook.UpdatedAt)
    {
        FormerSecretUntil = webhook.FormerUntil,
        DisabledAt = webhook.DisabledAt,
    };

    public static Refusal NotFound() =>
        new(StatusCodes.Status404NotFound, "no_such_webhook", "There is no webhook of that name.") { Hint = "keylime webhook list (GET /v1/webhooks) tells which there are." };

    public static Refusal Conflict() => new(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this webhook at this moment; try again.");

    public static Refusal Bad(string detail) => new(StatusCodes.Status400BadRequest, "invalid_webhook", detail);
}
