using Keylime.Attestation;
using Keylime.Protocol;

namespace Keylime.Functions.Storage;

/// <summary>A TPM that claims an id. Its endorsement key never changes, and its attestation key only if somebody approves; an activated one has proven that both are in one TPM.</summary>
internal sealed record Registration
{
    public const int CurrentSchema = 2;

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

    /// <summary>When it first proved that its keys are in one TPM.</summary>
    public DateTimeOffset? ActivatedAt { get; init; }

    /// <summary>The distinguished name of who issued the endorsement certificate, where it chains.</summary>
    public string? Issuer { get; init; }

    /// <summary>Of the endorsement certificate, where it chains: see <see cref="TpmMaker"/>.</summary>
    public string? Manufacturer { get; init; }

    public string? Model { get; init; }

    /// <summary>Of the TPM's firmware, when it was certified.</summary>
    public string? Version { get; init; }

    /// <summary>Another attestation key, offered by whoever knows the endorsement key, which is public: nobody has proven it yet.</summary>
    public KeyProposal? Offer { get; init; }

    /// <summary>Another attestation key that is proven to be in the same TPM. No mere offer takes its place.</summary>
    public KeyProposal? Proposal { get; init; }

    public required int Registrations { get; init; }

    public string? MtlsCertificate { get; init; }

    public string? Ip { get; init; }

    /// <summary>As JSON: a number from most agents, a string from some.</summary>
    public string? Port { get; init; }
}

/// <summary>An attestation key that the same TPM came with later. Nothing answers to it until somebody approves it.</summary>
/// <param name="AttestationKey">As a TPM2B_PUBLIC.</param>
/// <param name="ExpectedTagHash">SHA-256 of the tag that the activated credential makes.</param>
/// <param name="ProvenAt">When it was proven to be in the TPM; <see langword="null"/> where it is not yet.</param>
internal sealed record KeyProposal(
    ReadOnlyMemory<byte> AttestationKey, ReadOnlyMemory<byte> ExpectedTagHash, DateTimeOffset ProposedAt, DateTimeOffset? ProvenAt);
