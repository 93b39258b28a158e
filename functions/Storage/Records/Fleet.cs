namespace Keylime.Functions.Storage;

/// <summary>A count of the whole fleet.</summary>
/// <param name="At">When it was begun.</param>
/// <param name="Nodes">Machines by their state, as the API names it.</param>
/// <param name="OldestProof">When the machine that has not attested for longest last did, of those that attested once and are not retired.</param>
/// <param name="Deliveries">Events that wait for webhooks.</param>
/// <param name="OldestDelivery">When the oldest of them happened.</param>
internal sealed record Fleet(DateTimeOffset At, IReadOnlyDictionary<string, long> Nodes, DateTimeOffset? OldestProof, long Deliveries, DateTimeOffset? OldestDelivery);
