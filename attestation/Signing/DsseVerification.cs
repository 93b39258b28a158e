using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Keylime.Attestation;

/// <summary>Verifies the signatures of an envelope.</summary>
internal static class DsseVerification
{
    private const string CodeSigning = "1.3.6.1.5.5.7.3.3"; // RFC 5280, 4.2.1.12

    /// <remarks>
    /// Of each signature, in this order:
    /// <list type="number">
    ///   <item>a trusted key made it; or the key of a pinned certificate that is valid at that time;</item>
    ///   <item>or its key id is a certificate (as upstream's x509 back end has it) that chains to a trusted root at that time and may sign, and the key of that very
    ///   certificate made it.</item>
    /// </list>
    /// A key counts once, whatever it is called and however often it signed.
    /// </remarks>
    /// <param name="digest">SHA-256 of what is signed.</param>
    /// <returns>Signers, or why there are none.</returns>
    public static (ImmutableArray<VerifiedSigner> Signers, string? Why) Verify(byte[] digest, ImmutableArray<DsseSignature> signatures, SigningTrust trust, DateTimeOffset at)
    {
        if (trust.IsEmpty)
            return ([], "No key and no root is trusted to sign it.");

        var signers = new Dictionary<string, VerifiedSigner>(StringComparer.Ordinal);
        var objections = new List<string>();
        for (var i = 0; i < signatures.Length; i++)
        {
            var (signer, why) = VerifyOne(signatures[i], digest, trust, at);
            if (signer is not null)
                signers.TryAdd(signer.KeyHash, signer);
            else
                objections.Add($"signature {i}: {why}");
        }

        return signers.Count > 0 ? ([.. signers.Values], null) : ([], $"No trusted signature: {string.Join("; ", objections)}.");
    }

    private static (VerifiedSigner? Signer, string Why) VerifyOne(DsseSignature signature, byte[] digest, SigningTrust trust, DateTimeOffset at)
    {
        var why = "no trusted key made it";
        foreach (var key in trust.Keys)
        {
            if (!Made(key.Key, digest, signature))
                continue;
            if (key.From <= at && at <= key.To)
                return (new VerifiedSigner(key.Key.Hash, key.Name, null), "");
            why = $"'{key.Name}' made it, whose certificate is valid from {key.From:u} to {key.To:u}";
        }

        return trust.Roots.IsEmpty ? (null, why) : VerifyByCertificate(signature, digest, trust, at, why);
    }

    private static (VerifiedSigner? Signer, string Why) VerifyByCertificate(DsseSignature signature, byte[] digest, SigningTrust trust, DateTimeOffset at, string otherwise)
    {
        var sent = new X509Certificate2Collection();
        try
        {
            if (!TryReadCertificates(signature.KeyId, sent))
                return (null, $"{otherwise}, and its key id is no certificate");

            // From here on there is one certificate: what is chained, what may sign, and whose key is tried.
            var leaf = sent[0];
            if (Objection(leaf) is { } objection)
                return (null, $"the certificate '{leaf.Subject}' {objection}");
            var chain = CertificateChain.Build(leaf, [.. sent.Skip(1)], trust.Roots, at);
            if (chain.Root is null)
                return (null, $"the certificate '{leaf.Subject}': {chain.Why}");
            if (!VerificationKey.TryCreate(leaf.PublicKey.ExportSubjectPublicKeyInfo(), out var key, out var error))
                return (null, $"the certificate '{leaf.Subject}': {error}");
            return Made(key, digest, signature)
                ? (new VerifiedSigner(key.Hash, leaf.Subject, chain.Root), "")
                : (null, $"the certificate '{leaf.Subject}' is trusted, and its key did not make it");
        }
        catch (CryptographicException e)
        {
            return (null, $"the certificate in its key id cannot be read: {e.Message}");
        }
        finally
        {
            foreach (var certificate in sent)
                certificate.Dispose();
        }
    }

    // The key id is base64 of PEM: the signer's certificate, and perhaps intermediates behind it.
    private static bool TryReadCertificates(string keyId, X509Certificate2Collection into)
    {
        var pem = new byte[keyId.Length];
        if (!Convert.TryFromBase64String(keyId, pem, out var length) || pem.AsSpan(0, length).IndexOf("-----BEGIN CERTIFICATE-----"u8) < 0)
            return false;
        into.ImportFromPem(Encoding.ASCII.GetString(pem, 0, length));
        return into.Count is > 0 and <= CertificateChain.MaxSent;
    }

    // A certificate for a web server is no certificate for policies, even of a trusted root.
    private static string? Objection(X509Certificate2 certificate)
    {
        foreach (var extension in certificate.Extensions)
        {
            switch (extension)
            {
                case X509BasicConstraintsExtension { CertificateAuthority: true }:
                    return "is an authority's, and no signer's";
                case X509KeyUsageExtension usage when !usage.KeyUsages.HasFlag(X509KeyUsageFlags.DigitalSignature):
                    return "may not make signatures (keyUsage)";
                case X509EnhancedKeyUsageExtension usage when !usage.EnhancedKeyUsages.OfType<Oid>().Any(static oid => oid.Value == CodeSigning):
                    return "is for other purposes than signing code (extendedKeyUsage)";
            }
        }

        return null;
    }

    // SHA-256 with every key, as upstream signs; RSA with PKCS#1 v1.5.
    private static bool Made(VerificationKey key, byte[] digest, DsseSignature signature) =>
        key.VerifyEcdsa(digest, signature.Value.Span) || key.VerifyPkcs1(digest, signature.Value.Span, HashAlgorithmName.SHA256);
}
