using System.Globalization;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Storage;

/// <summary>One event on its way to one receiver. It waits in the outbox until it is over; then it stands in the ledger.</summary>
internal sealed record Delivery
{
    public const int CurrentSchema = 1;

    public int Schema { get; init; } = CurrentSchema;

    /// <summary>See <see cref="Webhook.Channel"/>.</summary>
    public required string Channel { get; init; }

    public required EventRecord Event { get; init; }

    public required DateTimeOffset QueuedAt { get; init; }

    /// <summary>Before this moment nobody takes it: it was tried and failed, or somebody is at it.</summary>
    public required DateTimeOffset DueAt { get; init; }

    public int Attempts { get; init; }

    public DateTimeOffset? AttemptedAt { get; init; }

    /// <summary>Of the last answer.</summary>
    public int? Status { get; init; }

    /// <summary>Why there was no answer.</summary>
    public string? Error { get; init; }

    /// <summary>How long the last attempt took.</summary>
    public long? Milliseconds { get; init; }

    public DeliveryState State { get; init; } = DeliveryState.Pending;

    public DateTimeOffset? SettledAt { get; init; }

    /// <summary>Its key in the outbox: oldest first, and the same however often the event is told.</summary>
    public string Place => string.Create(
        CultureInfo.InvariantCulture, $"{Event.At.UtcTicks:d19}-{EventTypes.PlaceOf(Event.Type):d3}~{Event.Key}~{Event.Subject}");

    /// <summary>When the event happened that stands in such a place.</summary>
    public static DateTimeOffset? TimeOf(string? place) =>
        place is not null && place.IndexOf('-') is > 0 and var end && long.TryParse(place.AsSpan(0, end), NumberStyles.None, CultureInfo.InvariantCulture, out var ticks) && ticks <= DateTime.MaxValue.Ticks
            ? new DateTimeOffset(ticks, TimeSpan.Zero)
            : null;

    /// <summary>Its key in the ledger: what was over last comes first.</summary>
    public string Key => $"{EventRecord.TimeKey(SettledAt ?? QueuedAt)}~{Event.GlobalId}";
}
