using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>What came of verifying an envelope.</summary>
public abstract record DsseResult
{
    private DsseResult()
    {
    }

    /// <param name="Payload">The very bytes that were signed.</param>
    /// <param name="Signers">One at least, each once.</param>
    public sealed record Verified(string PayloadType, ReadOnlyMemory<byte> Payload, ImmutableArray<VerifiedSigner> Signers) : DsseResult;

    /// <param name="Why">For a person: what each signature lacks.</param>
    public sealed record Rejected(string Why) : DsseResult;
}

/// <summary>Somebody whose signature verified.</summary>
/// <param name="KeyHash">SHA-256 of the key's SubjectPublicKeyInfo, lower-case hex: the signer's identity. Two names of one key are one signer.</param>
/// <param name="Name">The trusted key's name, or the certificate's subject.</param>
/// <param name="Root">The subject of the root that the certificate chains to; <see langword="null"/> for a key or a pinned certificate.</param>
public sealed record VerifiedSigner(string KeyHash, string Name, string? Root);
