using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>How well the TPM behind a key is known.</summary>
public enum IdentityLevel
{
    None,

    /// <summary>The endorsement key is known, and no trusted maker vouches for it.</summary>
    EndorsementKey,

    /// <summary>A certificate for the endorsement key chains to a root that the operator trusts.</summary>
    EndorsementCertificate,
}

/// <summary>What came of looking at an endorsement key's certificate.</summary>
public abstract record EndorsementResult
{
    private EndorsementResult()
    {
    }

    /// <param name="Leaf">The key's certificate, DER.</param>
    /// <param name="Root">The subject of the root it chains to.</param>
    public sealed record Chained(byte[] Leaf, string Root) : EndorsementResult;

    /// <param name="Why">Which issuer is missing, or what is wrong with the chain.</param>
    public sealed record Unchained(byte[] Leaf, string Why) : EndorsementResult;

    public sealed record NoCertificate : EndorsementResult;

    public sealed record Rejected(Finding Finding) : EndorsementResult;
}

/// <summary>Endorsement keys and their certificates (TCG EK Credential Profile).</summary>
public static class EndorsementKeys
{
    private const ObjectAttributes Required =
        ObjectAttributes.FixedTpm | ObjectAttributes.FixedParent | ObjectAttributes.SensitiveDataOrigin
        | ObjectAttributes.Restricted | ObjectAttributes.Decrypt;

    private const int MaxCertificates = 16;

    /// <summary>The reason why a key cannot be an endorsement key, or <see langword="null"/>.</summary>
    public static Finding? Objection(PublicArea key)
    {
        ArgumentNullException.ThrowIfNull(key);
        if ((key.Attributes & Required) != Required || key.Attributes.HasFlag(ObjectAttributes.Sign))
            return new Finding(EndorsementKeyUnsupported, $"An endorsement key is {Required} and not Sign; this one is {key.Attributes}.");
        if (key.Symmetric is not { Algorithm: TpmAlgorithm.Aes, Mode: TpmAlgorithm.Cfb, KeyBits: 128 or 256 })
            return new Finding(EndorsementKeyUnsupported, $"An endorsement key protects with AES-128 or AES-256 in CFB mode; this one with {key.Symmetric}.");
        if (key.NameAlgorithm == TpmAlgorithm.Sha1)
            return new Finding(EndorsementKeyUnsupported, "An endorsement key's name is not made with SHA-1.");
        return key is PublicArea.Rsa { KeyBits: < 2048 } rsa
            ? new Finding(EndorsementKeyUnsupported, $"An RSA endorsement key has 2048 bits at least; this one has {rsa.KeyBits}.")
            : null;
    }

    /// <summary>SubjectPublicKeyInfo, DER.</summary>
    /// <exception cref="CryptographicException">The key is no usable public key.</exception>
    public static byte[] Spki(PublicArea key)
    {
        switch (key)
        {
            case PublicArea.Rsa rsa:
                using (var created = rsa.CreateKey())
                    return created.ExportSubjectPublicKeyInfo();
            case PublicArea.Ecc ecc:
                using (var created = ECDsa.Create(ecc.ToParameters()))
                    return created.ExportSubjectPublicKeyInfo();
            default:
                throw new System.Diagnostics.UnreachableException();
        }
    }

    /// <summary>SHA-256 of the SubjectPublicKeyInfo: what an operator's list of endorsement keys holds.</summary>
    public static byte[] SpkiHash(PublicArea key) => SHA256.HashData(Spki(key));

    /// <summary>Finds the certificate of this key in what an agent sent, and a trusted root above it.</summary>
    /// <param name="ekcert">PEM of one certificate or of a chain in any order, base64 of DER, or empty.</param>
    /// <param name="trusted">Roots, and intermediates that may complete a chain; a self-signed one is a root.</param>
    public static EndorsementResult Check(
        PublicArea key, string? ekcert, IReadOnlyCollection<X509Certificate2> trusted, DateTimeOffset at)
    {
        ArgumentNullException.ThrowIfNull(trusted);
        if (string.IsNullOrWhiteSpace(ekcert))
            return new EndorsementResult.NoCertificate();

        var sent = new X509Certificate2Collection();
        try
        {
            Read(ekcert, sent);
            var spki = Spki(key);
            var leaf = sent.FirstOrDefault(c => c.PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(spki));
            return leaf is null
                ? Reject(EndorsementCertificateMismatch, $"None of the {sent.Count} certificates sent is for the endorsement key sent.")
                : Chain(leaf, sent, trusted, at);
        }
        catch (Exception e) when (e is CryptographicException or FormatException)
        {
            return Reject(EndorsementCertificateMalformed, $"The endorsement certificate cannot be read: {e.Message}");
        }
        finally
        {
            foreach (var certificate in sent)
                certificate.Dispose();
        }
    }

    private static EndorsementResult Chain(
        X509Certificate2 leaf, X509Certificate2Collection sent, IReadOnlyCollection<X509Certificate2> trusted, DateTimeOffset at)
    {
        if (trusted.Count == 0)
            return new EndorsementResult.Unchained(leaf.RawData, $"No root is trusted; the certificate's issuer is '{leaf.Issuer}'.");

        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true; // what an agent sends must not make the service call anywhere
        chain.ChainPolicy.VerificationTime = at.UtcDateTime;
        chain.ChainPolicy.VerificationTimeIgnored = false;
        chain.ChainPolicy.ExtraStore.AddRange(sent);
        foreach (var certificate in trusted)
        {
            if (certificate.SubjectName.RawData.AsSpan().SequenceEqual(certificate.IssuerName.RawData))
                chain.ChainPolicy.CustomTrustStore.Add(certificate);
            else
                chain.ChainPolicy.ExtraStore.Add(certificate);
        }

        var built = chain.Build(leaf);
        var top = chain.ChainElements.Count > 0 ? chain.ChainElements[^1].Certificate : leaf;
        if (built)
            return new EndorsementResult.Chained(leaf.RawData, top.Subject);

        var why = string.Join(' ', chain.ChainStatus.Select(static s => s.StatusInformation.Trim()).Distinct());
        return new EndorsementResult.Unchained(leaf.RawData, $"{why} The chain ends at '{top.Subject}', issued by '{top.Issuer}'.");
    }

    private static void Read(string text, X509Certificate2Collection into)
    {
        if (text.Contains("-----BEGIN", StringComparison.Ordinal))
            into.ImportFromPem(text);
        else
            into.Add(X509CertificateLoader.LoadCertificate(Convert.FromBase64String(text)));

        if (into.Count is 0 or > MaxCertificates)
            throw new FormatException($"{into.Count} certificates; 1 to {MaxCertificates} are expected.");
    }

    private static EndorsementResult.Rejected Reject(string code, string detail) => new(new Finding(code, detail));
}
