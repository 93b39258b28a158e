using System.Text.Json.Serialization;

namespace Keylime.Protocol.Api;

/// <summary>How much an event matters.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<EventSeverity>))]
public enum EventSeverity
{
    /// <summary>Good to know afterwards.</summary>
    [JsonStringEnumMemberName("info")] Info,

    /// <summary>Somebody should look at it.</summary>
    [JsonStringEnumMemberName("warning")] Warning,

    /// <summary>Trust is lost, or somebody tries to take it.</summary>
    [JsonStringEnumMemberName("critical")] Critical,
}

/// <summary><c>PUT /v1/webhooks/{name}</c>: where events are sent to, and which. A filter that is left out lets everything through.</summary>
/// <param name="Url">HTTPS, unless the service was told to allow that host and port.</param>
public sealed record WebhookMessage(Uri Url)
{
    /// <summary>Types of events, <c>node.failed</c>, or families of them, <c>node.*</c>.</summary>
    public IReadOnlyList<string>? Events { get; init; }

    /// <summary>Only events of nodes whose id starts with this; those of policies and of the service itself are left out then.</summary>
    public string? Nodes { get; init; }

    /// <summary>Only events of nodes of this group, as they are grouped when the event is told; those of policies and of the service itself are left out then.</summary>
    public string? Group { get; init; }

    /// <summary>Only events that matter as much, or more.</summary>
    public EventSeverity? Severity { get; init; }

    /// <summary>What signs the messages, 24 to 64 bytes in base64 after <c>whsec_</c>; made, and told once, if left out. Put again without it, a webhook keeps the one that it has.</summary>
    public string? Secret { get; init; }
}

/// <summary>A webhook, with its name.</summary>
/// <param name="CreatedBy">As <c>token NAME</c>.</param>
public sealed record NamedWebhook(string Name, WebhookMessage Webhook, DateTimeOffset CreatedAt, string CreatedBy, DateTimeOffset UpdatedAt)
{
    /// <summary>Until when messages are signed with the secret before the last rotation too.</summary>
    public DateTimeOffset? FormerSecretUntil { get; init; }

    /// <summary>Since when nothing is sent to it, because it answered 410. To put it again switches it on.</summary>
    public DateTimeOffset? DisabledAt { get; init; }
}

public sealed record WebhookList(IReadOnlyList<NamedWebhook> Webhooks);

/// <summary><c>POST /v1/webhooks/{name}/rotate</c>: another secret. Messages carry the signatures of both until the former one ends.</summary>
public sealed record RotateWebhook
{
    /// <summary>The new secret; made, and told once, if left out.</summary>
    public string? Secret { get; init; }

    /// <summary>How long the former secret signs too, 0 to 168; 24 if left out. A rotation within that time keeps the former secret that there is.</summary>
    public int? FormerHours { get; init; }
}

/// <summary>What one attempt to reach a receiver gave.</summary>
/// <param name="Delivered">It answered with a status from 200 to 299.</param>
public sealed record WebhookTrial(bool Delivered, long Milliseconds)
{
    /// <summary>Of its answer, where there was one.</summary>
    public int? Status { get; init; }

    /// <summary>Why there was none.</summary>
    public string? Error { get; init; }
}

/// <summary>What became of a delivery.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<DeliveryState>))]
public enum DeliveryState
{
    /// <summary>It waits for its first or its next attempt.</summary>
    [JsonStringEnumMemberName("pending")] Pending,

    /// <summary>The receiver has it.</summary>
    [JsonStringEnumMemberName("delivered")] Delivered,

    /// <summary>Given up: after three days, or because the receiver wants nothing any more.</summary>
    [JsonStringEnumMemberName("dead")] Dead,
}

/// <summary>One event on its way to one receiver.</summary>
/// <param name="Id">Of the message: <c>webhook-id</c>.</param>
public sealed record DeliveryMessage(string Id, string Type, string Subject, DateTimeOffset At, DeliveryState State, int Attempts, DateTimeOffset QueuedAt)
{
    /// <summary>When the last attempt was made.</summary>
    public DateTimeOffset? AttemptedAt { get; init; }

    /// <summary>Of a pending one: when the next attempt is due.</summary>
    public DateTimeOffset? DueAt { get; init; }

    /// <summary>When it was delivered, or given up.</summary>
    public DateTimeOffset? SettledAt { get; init; }

    /// <summary>Of the last answer.</summary>
    public int? Status { get; init; }

    /// <summary>Why there was no answer.</summary>
    public string? Error { get; init; }

    /// <summary>How long the last attempt took.</summary>
    public long? Milliseconds { get; init; }
}

public sealed record DeliveryList(IReadOnlyList<DeliveryMessage> Deliveries)
{
    public string? Next { get; init; }
}

/// <param name="Events">How many are on their way again.</param>
public sealed record ReplayedEvents(int Events);
