using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;

namespace Keylime.Attestation;

/// <summary>A public key that verifies signatures of people and of build systems: over files, over policies. Not a TPM's: that is <see cref="AttestationKey"/>.</summary>
/// <remarks>Immutable; any number of threads may verify with one.</remarks>
public sealed class VerificationKey
{
    /// <summary>The fewest bits of an RSA modulus.</summary>
    public const int MinRsaBits = 2048;

    /// <summary>The most bits of an RSA modulus: what a signature costs to verify grows with them.</summary>
    public const int MaxRsaBits = 8192;

    private const int MaxExponentBytes = 8;

    // The kernel verifies with the three of NIST; evmctl and upstream take the fourth too. Ordered by how often they are met.
    private static readonly (string Oid, string Type)[] Curves =
    [
        ("1.2.840.10045.3.1.7", "ecc-nist-p256"), ("1.3.132.0.34", "ecc-nist-p384"), ("1.3.132.0.35", "ecc-nist-p521"), ("1.3.132.0.10", "ecc-secp256k1"),
    ];

    private readonly byte[] _spki;
    private AsymmetricAlgorithm? _spare; // of two threads one makes an instance of its own: the runtime's are for one thread at a time

    private VerificationKey(byte[] spki, string type, RSAParameters? rsa, ECPoint? point)
    {
        (_spki, Type, Rsa, Point) = (spki, type, rsa, point);
        Hash = Convert.ToHexStringLower(SHA256.HashData(spki));
    }

    /// <summary><c>rsa-2048</c>, <c>ecc-nist-p256</c> …</summary>
    public string Type { get; }

    /// <summary>DER, in the one form that the runtime writes, whatever form the key was read from.</summary>
    public ReadOnlyMemory<byte> SubjectPublicKeyInfo => _spki;

    /// <summary>SHA-256 of <see cref="SubjectPublicKeyInfo"/>, lower-case hex: the key's identity.</summary>
    public string Hash { get; }

    internal RSAParameters? Rsa { get; }

    internal ECPoint? Point { get; }

    /// <param name="spki">Exactly one SubjectPublicKeyInfo (RFC 5280, 4.1), DER.</param>
    public static bool TryCreate(ReadOnlySpan<byte> spki, [NotNullWhen(true)] out VerificationKey? key, [NotNullWhen(false)] out string? error)
    {
        (key, error) = (null, null);
        try
        {
            if (TryImport<RSA>(RSA.Create, spki, out var rsa, ref error))
            {
                using (rsa)
                    key = FromRsa(rsa, out error);
            }
            else if (error is null && TryImport<ECDsa>(ECDsa.Create, spki, out var ecdsa, ref error))
            {
                using (ecdsa)
                    key = FromEcdsa(ecdsa, out error);
            }
        }
        catch (Exception e) when (e is CryptographicException or PlatformNotSupportedException)
        {
            error = $"the key is of no use: {e.Message}";
        }

        if (key is null)
            error ??= "it is no public key of RSA or ECDSA (SubjectPublicKeyInfo, DER)";
        return key is not null;
    }

    /// <summary>True if this RSA key signed the digest, with PKCS#1 v1.5 (RFC 8017, 8.2).</summary>
    internal bool VerifyPkcs1(ReadOnlySpan<byte> digest, ReadOnlySpan<byte> signature, HashAlgorithmName hash) =>
        Rsa is { } parameters && signature.Length == parameters.Modulus!.Length
        && Use(digest, signature, (AsymmetricAlgorithm key, ReadOnlySpan<byte> d, ReadOnlySpan<byte> s) => ((RSA)key).VerifyHash(d, s, hash, RSASignaturePadding.Pkcs1));

    /// <summary>True if this EC key signed the digest, and the signature is DER (RFC 3279, 2.2.3).</summary>
    internal bool VerifyEcdsa(ReadOnlySpan<byte> digest, ReadOnlySpan<byte> signature) =>
        Point is not null
        && Use(digest, signature, static (AsymmetricAlgorithm key, ReadOnlySpan<byte> d, ReadOnlySpan<byte> s) => ((ECDsa)key).VerifyHash(d, s, DSASignatureFormat.Rfc3279DerSequence));

    private delegate bool Verifier(AsymmetricAlgorithm key, ReadOnlySpan<byte> digest, ReadOnlySpan<byte> signature);

    private bool Use(ReadOnlySpan<byte> digest, ReadOnlySpan<byte> signature, Verifier verify)
    {
        var key = Interlocked.Exchange(ref _spare, null) ?? Open();
        var good = verify(key, digest, signature);
        if (Interlocked.CompareExchange(ref _spare, key, null) is not null)
            key.Dispose();
        return good;
    }

    private AsymmetricAlgorithm Open()
    {
        AsymmetricAlgorithm key = Rsa is null ? ECDsa.Create() : RSA.Create();
        key.ImportSubjectPublicKeyInfo(_spki, out _);
        return key;
    }

    private static bool TryImport<T>(Func<T> create, ReadOnlySpan<byte> spki, [NotNullWhen(true)] out T? key, ref string? error)
        where T : AsymmetricAlgorithm
    {
        key = create();
        try
        {
            key.ImportSubjectPublicKeyInfo(spki, out var used);
            if (used == spki.Length)
                return true;
            error = $"{spki.Length - used} bytes behind the key";
        }
        catch (CryptographicException)
        {
            // no key of this kind
        }

        key.Dispose();
        key = null;
        return false;
    }

    private static VerificationKey? FromRsa(RSA rsa, out string? error)
    {
        var parameters = rsa.ExportParameters(false);
        error = rsa.KeySize is < MinRsaBits or > MaxRsaBits ? $"an RSA key of {rsa.KeySize} bits; {MinRsaBits} to {MaxRsaBits} are expected"
            : parameters.Exponent!.Length > MaxExponentBytes || (parameters.Exponent[^1] & 1) == 0 || parameters.Exponent is [1] ? "an RSA key whose exponent is even, 1 or of more than 64 bits"
            : null;
        return error is null ? new VerificationKey(rsa.ExportSubjectPublicKeyInfo(), $"rsa-{rsa.KeySize}", parameters, null) : null;
    }

    private static VerificationKey? FromEcdsa(ECDsa ecdsa, out string? error)
    {
        var parameters = ecdsa.ExportParameters(false);
        var type = parameters.Curve.IsNamed ? Array.Find(Curves, c => c.Oid == parameters.Curve.Oid.Value).Type : null;
        error = type is null ? $"a key on the curve {parameters.Curve.Oid?.FriendlyName ?? "of its own parameters"}; P-256, P-384, P-521 or secp256k1 are expected" : null;
        return error is null ? new VerificationKey(ecdsa.ExportSubjectPublicKeyInfo(), type!, null, parameters.Q) : null;
    }
}
