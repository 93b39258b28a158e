using Keylime.Protocol;

namespace Keylime.Functions.Storage;

/// <summary>Whose an endorsement key is: one TPM is one node. The row is the claim, so that two ids cannot both win it.</summary>
internal sealed record EndorsementOwner
{
    public const int CurrentSchema = 1;

    public int Schema { get; init; } = CurrentSchema;

    /// <summary>SHA-256 of the key's SubjectPublicKeyInfo, in hex.</summary>
    public required string EndorsementKeyHash { get; init; }

    public required AgentId Agent { get; init; }

    public required DateTimeOffset ClaimedAt { get; init; }
}
