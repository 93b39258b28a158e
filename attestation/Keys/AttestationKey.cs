using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>
/// The public part of a key that signs nothing but a TPM's own statements. To hold one says that the key's attributes are
/// those of an attestation key; that it lives in a TPM is for credential activation to show.
/// </summary>
public sealed class AttestationKey : IDisposable
{
    private const ObjectAttributes Required =
        ObjectAttributes.FixedTpm | ObjectAttributes.FixedParent | ObjectAttributes.SensitiveDataOrigin
        | ObjectAttributes.Restricted | ObjectAttributes.Sign;

    private const int MinRsaBits = 2048;

    private readonly RSA? _rsa;
    private readonly ECDsa? _ecdsa;

    private AttestationKey(PublicArea area, RSA? rsa, ECDsa? ecdsa)
    {
        (Area, _rsa, _ecdsa) = (area, rsa, ecdsa);
        Name = area.ComputeName();
    }

    public PublicArea Area { get; }

    /// <summary>nameAlg and digest (Part 1, 16): the identity that a node pins.</summary>
    public ReadOnlyMemory<byte> Name { get; }

    /// <summary>The one scheme and hash that this key signs with: it is restricted, so its scheme is fixed.</summary>
    public KeyScheme Scheme => Area.Scheme;

    /// <summary><c>rsa-2048</c>, <c>ecc-nist-p256</c> …</summary>
    public string Type => TypeOf(Area);

    /// <summary>The same of any public area.</summary>
    public static string TypeOf(PublicArea area) => area switch
    {
        PublicArea.Rsa rsa => $"rsa-{rsa.KeyBits}",
        PublicArea.Ecc { Curve: TpmCurve.NistP256 } => "ecc-nist-p256",
        PublicArea.Ecc { Curve: TpmCurve.NistP384 } => "ecc-nist-p384",
        PublicArea.Ecc { Curve: TpmCurve.NistP521 } => "ecc-nist-p521",
        _ => throw new System.Diagnostics.UnreachableException(),
    };

    /// <summary>The hashes that a key may sign with. SHA-1 is not among them.</summary>
    public static bool IsAcceptedHash(TpmAlgorithm hash) => hash is TpmAlgorithm.Sha256 or TpmAlgorithm.Sha384 or TpmAlgorithm.Sha512;

    /// <summary>Takes a public area for an attestation key, or says why it is none.</summary>
    public static bool TryCreate(
        PublicArea area, [NotNullWhen(true)] out AttestationKey? key, [NotNullWhen(false)] out Finding? refusal)
    {
        ArgumentNullException.ThrowIfNull(area);

        key = null;

        // Part 1, 25.3: a restricted signing key refuses outside data that looks like a TPM's own statement.
        if ((area.Attributes & Required) != Required || area.Attributes.HasFlag(ObjectAttributes.Decrypt))
        {
            refusal = new Finding(KeyNotRestricted, $"An attestation key is {Required} and not Decrypt; this one is {area.Attributes}.");
            return false;
        }

        refusal = Unsupported(area);
        if (refusal is not null)
            return false;

        try
        {
            key = area switch
            {
                PublicArea.Rsa rsa => new AttestationKey(area, rsa.CreateKey(), null),
                PublicArea.Ecc ecc => new AttestationKey(area, null, ECDsa.Create(ecc.ToParameters())),
                _ => throw new System.Diagnostics.UnreachableException(),
            };
            return true;
        }
        catch (CryptographicException e)
        {
            refusal = new Finding(KeyUnsupported, $"The key is no usable public key: {e.Message}");
            return false;
        }
    }

    public void Dispose()
    {
        _rsa?.Dispose();
        _ecdsa?.Dispose();
    }

    /// <summary>True if this key signed exactly these bytes. A signature of the wrong kind or length is just false.</summary>
    internal bool Verify(ReadOnlySpan<byte> data, TpmSignature signature)
    {
        if (signature.Scheme != Scheme.Algorithm || signature.Hash != Scheme.Hash)
            return false;

        Span<byte> digest = stackalloc byte[TpmAlgorithms.MaxDigestSize];
        var hash = signature.Hash.HashName();
        digest = digest[..CryptographicOperations.HashData(hash, data, digest)];
        return (signature, _rsa, _ecdsa) switch
        {
            (TpmSignature.Rsa s, { } rsa, _) => s.Value.Length * 8 == rsa.KeySize && VerifyRsa(rsa, digest, s, hash),
            (TpmSignature.Ecdsa s, _, { } ecdsa) => VerifyEcdsa(ecdsa, digest, s, ((PublicArea.Ecc)Area).Curve.CoordinateSize()),
            _ => false,
        };
    }

    private static Finding? Unsupported(PublicArea area)
    {
        if (!IsAcceptedHash(area.Scheme.Hash))
            return new Finding(KeyUnsupported, $"An attestation key signs with SHA-256, SHA-384 or SHA-512; this one with {area.Scheme.Hash}.");
        if (area.NameAlgorithm == TpmAlgorithm.Sha1)
            return new Finding(KeyUnsupported, "An attestation key's name is not made with SHA-1: names are what nodes are pinned by.");

        return area switch
        {
            PublicArea.Rsa { Scheme.Algorithm: not (TpmAlgorithm.RsaSsa or TpmAlgorithm.RsaPss) } =>
                new Finding(KeyUnsupported, $"An RSA attestation key signs with RSASSA or RSAPSS; this one with {area.Scheme.Algorithm}."),
            PublicArea.Rsa { KeyBits: < MinRsaBits } rsa =>
                new Finding(KeyUnsupported, $"An RSA attestation key has {MinRsaBits} bits at least; this one has {rsa.KeyBits}."),
            PublicArea.Ecc { Scheme.Algorithm: not TpmAlgorithm.Ecdsa } =>
                new Finding(KeyUnsupported, $"An ECC attestation key signs with ECDSA; this one with {area.Scheme.Algorithm}."),
            _ => null,
        };
    }

    private static bool VerifyRsa(RSA rsa, ReadOnlySpan<byte> digest, TpmSignature.Rsa signature, HashAlgorithmName hash)
    {
        // Part 1, B.7: a salt as long as the digest, which is what the runtime expects too
        var padding = signature.Scheme == TpmAlgorithm.RsaSsa ? RSASignaturePadding.Pkcs1 : RSASignaturePadding.Pss;
        return rsa.VerifyHash(digest, signature.Value.Span, hash, padding);
    }

    private static bool VerifyEcdsa(ECDsa key, ReadOnlySpan<byte> digest, TpmSignature.Ecdsa signature, int size)
    {
        if (signature.R.Length > size || signature.S.Length > size)
            return false;

        Span<byte> both = stackalloc byte[2 * size]; // IEEE P1363: r and s, each padded to the curve's size
        both.Clear();
        signature.R.Span.CopyTo(both[(size - signature.R.Length)..]);
        signature.S.Span.CopyTo(both[(2 * size - signature.S.Length)..]);
        return key.VerifyHash(digest, both, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
    }
}
