using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Keylime.Attestation;

/// <summary>Chains of certificates that vouch for TPMs: to the roots that the operator trusts, and to nothing else.</summary>
internal static class CertificateChain
{
    /// <summary>How many certificates an agent may send along.</summary>
    public const int MaxSent = 16;

    private const string AuthorityInformation = "1.3.6.1.5.5.7.1.1"; // RFC 5280, 4.2.2.1

    /// <summary>A chain that ends at a root, or where it ends instead.</summary>
    /// <param name="Root">The root's subject; <see langword="null"/> where there is none.</param>
    /// <param name="Why">Where there is none: what is missing, or what is wrong.</param>
    /// <param name="IssuerUrls">Where there is none: where the last certificate says that its issuer's can be had. Nobody has to go there.</param>
    internal sealed record Result(string? Root, string Why, IReadOnlyList<Uri> IssuerUrls);

    /// <param name="trusted">Roots, and intermediates that may complete a chain; a self-issued one is a root.</param>
    public static Result Build(
        X509Certificate2 leaf, X509Certificate2Collection sent, IReadOnlyCollection<X509Certificate2> trusted, DateTimeOffset at)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true; // what an agent sends must not make the service call anywhere
        chain.ChainPolicy.VerificationTime = at.UtcDateTime;
        chain.ChainPolicy.VerificationTimeIgnored = false;
        chain.ChainPolicy.ExtraStore.AddRange(sent);
        foreach (var certificate in trusted)
        {
            if (IsSelfIssued(certificate))
                chain.ChainPolicy.CustomTrustStore.Add(certificate);
            else
                chain.ChainPolicy.ExtraStore.Add(certificate);
        }

        var built = trusted.Count > 0 && chain.Build(leaf);
        var top = chain.ChainElements.Count > 0 ? chain.ChainElements[^1].Certificate : leaf;
        if (built)
            return new Result(top.Subject, "", []);
        if (!IsSelfIssued(top))
            return new Result(null, $"The issuer '{top.Issuer}' is missing: no trusted certificate has that name. It is added with: keylime trust add FILE", IssuerUrlsOf(top));

        var trustedTop = trusted.Any(t => t.RawDataMemory.Span.SequenceEqual(top.RawDataMemory.Span));
        var status = string.Join(' ', chain.ChainStatus.Select(static s => s.StatusInformation.Trim()).Distinct());
        return new Result(null, trustedTop ? $"The chain to '{top.Subject}' is not valid: {status}" : $"The chain ends at '{top.Subject}', which is not among the trusted certificates.", []);
    }

    /// <summary>Certificates of PEM, or base64 of an NV index's contents.</summary>
    /// <exception cref="FormatException">There are none, or too many.</exception>
    /// <exception cref="CryptographicException">One of them is none.</exception>
    public static void Read(string text, X509Certificate2Collection into)
    {
        if (text.Contains("-----BEGIN", StringComparison.Ordinal))
        {
            into.ImportFromPem(text);
        }
        else
        {
            foreach (var certificate in Tpm.NvCertificates.Split(Convert.FromBase64String(text)))
                into.Add(X509CertificateLoader.LoadCertificate(certificate.Span));
        }

        if (into.Count is 0 or > MaxSent)
            throw new FormatException($"{into.Count} certificates; 1 to {MaxSent} are expected.");
    }

    private static bool IsSelfIssued(X509Certificate2 certificate) =>
        certificate.SubjectName.RawData.AsSpan().SequenceEqual(certificate.IssuerName.RawData);

    private static Uri[] IssuerUrlsOf(X509Certificate2 certificate)
    {
        try
        {
            return certificate.Extensions.FirstOrDefault(static e => e.Oid?.Value == AuthorityInformation) is { } extension
                ? [.. new X509AuthorityInformationAccessExtension(extension.RawData).EnumerateCAIssuersUris()
                    .Select(static text => Uri.TryCreate(text, UriKind.Absolute, out var url) ? url : null).OfType<Uri>()
                    .Where(static url => url.Scheme is "http" or "https").Take(4)]
                : [];
        }
        catch (CryptographicException)
        {
            return [];
        }
    }
}
