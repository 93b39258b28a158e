using Keylime.Attestation;
using Keylime.Protocol;

namespace Keylime.Functions.Storage;

/// <summary>A TPM that claims an id. Its keys never change; an activated one has proven that both are in one TPM.</summary>
internal sealed record Registration
{
    public const int CurrentSchema = 1;

    public int Schema { get; init; } = CurrentSchema;

    public required AgentId Id { get; init; }

    /// <summary>As a TPM2B_PUBLIC, as the registrar's API has it.</summary>
    public required ReadOnlyMemory<byte> EndorsementKey { get; init; }

    /// <summary>SHA-256 of its SubjectPublicKeyInfo.</summary>
    public required ReadOnlyMemory<byte> EndorsementKeyHash { get; init; }

    /// <summary>DER of the certificate of that key; empty where the TPM has none.</summary>
    public required ReadOnlyMemory<byte> EndorsementCertificate { get; init; }

    public required IdentityLevel Identity { get; init; }

    /// <summary>The root that the certificate chains to, or why there is none.</summary>
    public required string IdentityDetail { get; init; }

    /// <summary>As a TPM2B_PUBLIC.</summary>
    public required ReadOnlyMemory<byte> AttestationKey { get; init; }

    public required bool Active { get; init; }

    /// <summary>SHA-256 of the tag that the activated credential makes: the secret itself is not kept.</summary>
    public required ReadOnlyMemory<byte> ExpectedTagHash { get; init; }

    public required DateTimeOffset RegisteredAt { get; init; }

    public required int Registrations { get; init; }

    public string? MtlsCertificate { get; init; }

    public string? Ip { get; init; }

    /// <summary>As JSON: a number from most agents, a string from some.</summary>
    public string? Port { get; init; }
}
