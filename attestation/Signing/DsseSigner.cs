using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Keylime.Attestation;

/// <summary>A private key that signs envelopes, with or without a certificate.</summary>
public sealed class DsseSigner : IDisposable
{
    private readonly AsymmetricAlgorithm _key;

    private DsseSigner(AsymmetricAlgorithm key, VerificationKey verification, string keyId) => (_key, Key, KeyId) = (key, verification, keyId);

    /// <summary>The public part.</summary>
    public VerificationKey Key { get; }

    /// <summary>
    /// As upstream's back ends have it: SHA-256, in hex, of the public key's PEM, or base64 of the certificate's. A hint for people and tools; nothing is trusted for it.
    /// </summary>
    public string KeyId { get; }

    /// <param name="keyPem">An unencrypted private key, RSA or EC.</param>
    /// <param name="certificatePem">Where it is not empty, its key is this one, and it travels with signatures, and so do intermediates behind it.</param>
    public static bool TryCreate(
        ReadOnlySpan<char> keyPem, ReadOnlySpan<char> certificatePem, [NotNullWhen(true)] out DsseSigner? signer, [NotNullWhen(false)] out string? error)
    {
        (signer, error) = (null, null);
        AsymmetricAlgorithm? key = null;
        try
        {
            if (keyPem.Contains("ENCRYPTED", StringComparison.Ordinal))
                error = "the key is encrypted; openssl pkey -in FILE -out PLAIN writes one that is not";
            else if ((key = (AsymmetricAlgorithm?)Import<ECDsa>(keyPem, ECDsa.Create) ?? Import<RSA>(keyPem, RSA.Create)) is null)
                error = "there is no private key of RSA or EC in it, PEM";
            else if (VerificationKey.TryCreate(key.ExportSubjectPublicKeyInfo(), out var verification, out error) && (error = CertificateObjection(certificatePem, verification)) is null)
                signer = new DsseSigner(key, verification, certificatePem.IsEmpty ? HashOf(key) : Convert.ToBase64String(Encoding.ASCII.GetBytes(certificatePem.ToString())));
        }
        catch (CryptographicException e)
        {
            error = $"it cannot be read: {e.Message}";
        }

        if (signer is null)
            key?.Dispose();
        error = signer is null ? error ?? "it is no key that signs" : null;
        return signer is not null;
    }

    public void Dispose() => _key.Dispose();

    /// <summary>ECDSA (DER) or RSASSA-PKCS1-v1_5, with SHA-256.</summary>
    internal byte[] Sign(byte[] data) => _key switch
    {
        ECDsa ecdsa => ecdsa.SignData(data, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence),
        RSA rsa => rsa.SignData(data, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1),
        _ => throw new System.Diagnostics.UnreachableException(),
    };

    private static T? Import<T>(ReadOnlySpan<char> pem, Func<T> create)
        where T : AsymmetricAlgorithm
    {
        if (!pem.Contains("PRIVATE KEY-----", StringComparison.Ordinal))
            return null;
        var key = create();
        try
        {
            key.ImportFromPem(pem);
            return key;
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException) // of another kind, or none
        {
            key.Dispose();
            return null;
        }
    }

    private static string? CertificateObjection(ReadOnlySpan<char> pem, VerificationKey key)
    {
        if (pem.IsEmpty)
            return null;
        var certificates = new X509Certificate2Collection();
        certificates.ImportFromPem(pem);
        try
        {
            return certificates.Count == 0 ? "there is no certificate in it, PEM"
                : certificates[0].PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(key.SubjectPublicKeyInfo.Span) ? null
                : $"the certificate '{certificates[0].Subject}' is of another key";
        }
        finally
        {
            foreach (var certificate in certificates)
                certificate.Dispose();
        }
    }

    private static string HashOf(AsymmetricAlgorithm key) => Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(key.ExportSubjectPublicKeyInfoPem() + "\n")));
}
