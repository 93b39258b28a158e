using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Keylime.Attestation;

/// <summary>Chains of certificates that vouch for TPMs: to the roots that the operator trusts, and to nothing else.</summary>
internal static class CertificateChain
{
    /// <summary>How many certificates an agent may send along.</summary>
    public const int MaxSent = 16;

    private const int MaxUrl = 200;
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

        // Whatever the platform makes of an empty store: where nobody is trusted, nothing is.
        var built = chain.Build(leaf) && trusted.Count > 0;
        var top = chain.ChainElements.Count > 0 ? chain.ChainElements[^1].Certificate : leaf;
        if (built)
            return new Result(top.Subject, "", []);
        if (!IsSelfIssued(top))
        {
            var urls = IssuerUrlsOf(top);
            return new Result(null, Missing(top, [.. trusted, .. sent], urls), urls);
        }

        var trustedTop = trusted.Any(t => t.RawDataMemory.Span.SequenceEqual(top.RawDataMemory.Span));
        return new Result(null, trustedTop ? $"The chain to '{top.Subject}' is not valid: {Wrong(chain)}" : $"The chain ends at '{top.Subject}', which is not among the trusted certificates.", []);
    }

    // Which of the certificates is wrong, and how.
    private static string Wrong(X509Chain chain) => string.Join(' ', chain.ChainElements
        .Where(static e => e.ChainElementStatus.Length > 0)
        .Select(static e => $"'{(e.Certificate.Subject.Length > 0 ? e.Certificate.Subject : "the TPM's own")}': {string.Join(' ', e.ChainElementStatus.Select(static s => s.StatusInformation.Trim()))}"));

    /// <summary>Certificates of PEM, or base64 of an NV index's contents.</summary>
    /// <exception cref="FormatException">There are none, or too many.</exception>
    /// <exception cref="CryptographicException">One of them is none.</exception>
    public static void Read(string text, X509Certificate2Collection into)
    {
        if (text.Contains("-----BEGIN", StringComparison.Ordinal))
        {
            for (var rest = text.AsSpan(); PemEncoding.TryFind(rest, out var fields); rest = rest[fields.Location.End..])
            {
                if (rest[fields.Label] is "CERTIFICATE")
                    ReadDer(Convert.FromBase64String(rest[fields.Base64Data].ToString()), into);
            }
        }
        else
        {
            ReadDer(Convert.FromBase64String(text), into);
        }

        if (into.Count is 0 or > MaxSent)
            throw new FormatException($"{into.Count} certificates; 1 to {MaxSent} are expected.");
    }

    // An agent may send an NV index as it is, in PEM too.
    private static void ReadDer(byte[] data, X509Certificate2Collection into)
    {
        foreach (var certificate in Tpm.NvCertificates.Split(data))
            into.Add(X509CertificateLoader.LoadCertificate(certificate.Span));
    }

    // Makers have many authorities of much the same name: a person who looks for one is told where it is said to be.
    private static string Missing(X509Certificate2 top, IReadOnlyCollection<X509Certificate2> known, Uri[] urls)
    {
        var namesake = known.Any(c => c.SubjectName.RawData.AsSpan().SequenceEqual(top.IssuerName.RawData));
        var where = urls is [{ AbsoluteUri: { Length: <= MaxUrl } url }, ..] ? $" (it is said to be at {url})" : "";
        return $"The issuer '{top.Issuer}' is missing: {(namesake ? "the certificate of that name here has another key" : "no trusted certificate has that name")}{where}. Whoever trusts it adds it with 'keylime trust add FILE'.";
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
