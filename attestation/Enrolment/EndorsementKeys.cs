using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>How well the TPM behind a key is known. Each level but the last two is weaker than a certificate, and verdicts say so.</summary>
public enum IdentityLevel
{
    None,

    /// <summary>The endorsement key is known, and nobody vouches for it: any program can be such a TPM.</summary>
    EndorsementKey,

    /// <summary>The endorsement key is on the operator's own list.</summary>
    EndorsementList,

    /// <summary>A certificate for the endorsement key chains to a root that the operator trusts.</summary>
    EndorsementCertificate,

    /// <summary>A certificate for the initial attestation key chains to a root that the operator trusts, and that key certified the attestation key.</summary>
    InitialAttestationKey,
}

/// <summary>What came of looking at an endorsement key's certificate.</summary>
public abstract record EndorsementResult
{
    private EndorsementResult()
    {
    }

    /// <param name="Leaf">The key's certificate, DER.</param>
    /// <param name="Root">The subject of the root it chains to.</param>
    /// <param name="Issuer">The subject of who issued the key's certificate.</param>
    public sealed record Chained(byte[] Leaf, string Root, string Issuer, TpmMaker Maker) : EndorsementResult;

    /// <param name="Why">Which issuer is missing, or what is wrong with the chain.</param>
    /// <param name="IssuerUrls">Where the missing issuer's certificate is said to be.</param>
    public sealed record Unchained(byte[] Leaf, string Why, IReadOnlyList<Uri> IssuerUrls) : EndorsementResult;

    public sealed record NoCertificate : EndorsementResult;

    public sealed record Rejected(Finding Finding) : EndorsementResult;
}

/// <summary>Endorsement keys and their certificates (TCG EK Credential Profile).</summary>
public static class EndorsementKeys
{
    private const ObjectAttributes Required =
        ObjectAttributes.FixedTpm | ObjectAttributes.FixedParent | ObjectAttributes.SensitiveDataOrigin
        | ObjectAttributes.Restricted | ObjectAttributes.Decrypt;

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

    /// <summary>Finds the certificate of this key in what an agent sent, checks it against the profile, and looks for a trusted root above it.</summary>
    /// <param name="ekcert">PEM of one certificate or of a chain in any order, base64 of DER, or empty.</param>
    /// <param name="trusted">Roots, and intermediates that may complete a chain; a self-issued one is a root.</param>
    public static EndorsementResult Check(
        PublicArea key, string? ekcert, IReadOnlyCollection<X509Certificate2> trusted, DateTimeOffset at)
    {
        ArgumentNullException.ThrowIfNull(trusted);
        if (string.IsNullOrWhiteSpace(ekcert))
            return new EndorsementResult.NoCertificate();

        var sent = new X509Certificate2Collection();
        try
        {
            CertificateChain.Read(ekcert, sent);
            var spki = Spki(key);
            var leaf = sent.FirstOrDefault(c => c.PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(spki));
            if (leaf is null)
                return Reject(EndorsementCertificateMismatch, $"None of the {sent.Count} certificates sent is for the endorsement key sent.");
            if (EndorsementProfile.Objection(leaf, key, at) is { } objection)
                return Reject(EndorsementCertificateProfile, $"The certificate is none of an endorsement key: {objection}.");

            var chain = CertificateChain.Build(leaf, sent, trusted, at);
            return chain.Root is { } root
                ? new EndorsementResult.Chained(leaf.RawData, root, leaf.Issuer, EndorsementProfile.ReadMaker(leaf)!)
                : new EndorsementResult.Unchained(leaf.RawData, chain.Why, chain.IssuerUrls);
        }
        catch (Exception e) when (e is CryptographicException or FormatException or TpmFormatException)
        {
            return Reject(EndorsementCertificateMalformed, $"The endorsement certificate cannot be read: {e.Message}");
        }
        finally
        {
            foreach (var certificate in sent)
                certificate.Dispose();
        }
    }

    private static EndorsementResult.Rejected Reject(string code, string detail) => new(new Finding(code, detail));
}
