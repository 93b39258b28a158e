using Keylime.Protocol.Api;

namespace Keylime.Functions.Storage;

/// <summary>Who is admitted without an operator's hand, and under which policies.</summary>
internal sealed record EnrolmentRule
{
    public const int CurrentSchema = 1;

    public int Schema { get; init; } = CurrentSchema;

    public required string Name { get; init; }

    public required EnrolmentRuleMessage Rule { get; init; }

    /// <summary>Of a webhook: the secret that signs its requests, sealed by the key ring.</summary>
    public ReadOnlyMemory<byte> SealedSecret { get; init; }

    public required DateTimeOffset UpdatedAt { get; init; }
}
