namespace Keylime.Functions.Storage;

/// <summary>A certificate that the operator trusts to vouch for TPMs: a maker's root, or an intermediate that completes a chain.</summary>
internal sealed record TrustedCertificate
{
    public const int CurrentSchema = 1;

    public int Schema { get; init; } = CurrentSchema;

    /// <summary>SHA-256 of the DER, in hex.</summary>
    public required string Thumbprint { get; init; }

    public required ReadOnlyMemory<byte> Der { get; init; }

    public required DateTimeOffset AddedAt { get; init; }
}
