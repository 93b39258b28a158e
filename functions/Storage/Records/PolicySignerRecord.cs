namespace Keylime.Functions.Storage;

/// <summary>Somebody whose signatures make policies valid: a public key, or an authority whose certificates sign.</summary>
internal sealed record PolicySignerRecord
{
    public const int CurrentSchema = 1;

    public int Schema { get; init; } = CurrentSchema;

    public required string Name { get; init; }

    /// <summary>A SubjectPublicKeyInfo, or a certificate, in DER.</summary>
    public required ReadOnlyMemory<byte> Der { get; init; }

    public required bool IsCertificate { get; init; }

    public required DateTimeOffset AddedAt { get; init; }

    public required string AddedBy { get; init; }
}
