using Keylime.Protocol.Api;

namespace Keylime.Functions.Storage;

/// <summary>A receiver of events, and which of them it wants.</summary>
internal sealed record Webhook
{
    public const int CurrentSchema = 1;

    public int Schema { get; init; } = CurrentSchema;

    public required string Name { get; init; }

    /// <summary>Of this webhook and of none that had its name before: what waits for one is never sent to the other.</summary>
    public required string Channel { get; init; }

    /// <summary>What was put, without the secret.</summary>
    public required WebhookMessage Message { get; init; }

    /// <summary>What signs, sealed by the key ring.</summary>
    public required ReadOnlyMemory<byte> SealedSecret { get; init; }

    /// <summary>What signs too, until <see cref="FormerUntil"/>.</summary>
    public ReadOnlyMemory<byte> SealedFormerSecret { get; init; }

    public DateTimeOffset? FormerUntil { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    public required string CreatedBy { get; init; }

    public required DateTimeOffset UpdatedAt { get; init; }

    public required string UpdatedBy { get; init; }

    /// <summary>What <see cref="UpdatedBy"/> did.</summary>
    public required WebhookChange Change { get; init; }

    public DateTimeOffset? DisabledAt { get; init; }
}

/// <summary>What was last done to a webhook.</summary>
internal enum WebhookChange
{
    Put,
    Rotated,
    Disabled,
}
