using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Keylime.Attestation;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Policies;

/// <summary>Whose signatures make policies valid, as approvers keep the list.</summary>
internal sealed partial class PolicySigners(IRecordStore<PolicySignerRecord> signers, ILogger<PolicySigners> log)
{
    public async Task<SigningTrust> TrustAsync(CancellationToken cancel)
    {
        var trust = SigningTrust.None;
        foreach (var signer in await signers.AllAsync(cancel))
        {
            if (TryAdd(trust, signer, out var with, out var error))
                trust = with;
            else
                LogUnusable(log, signer.Name, error);
        }

        return trust;
    }

    /// <summary>Reads what an approver sends: a public key, or a certificate, in PEM.</summary>
    public static bool TryRead(ReadOnlySpan<byte> pem, [NotNullWhen(true)] out byte[]? der, out bool isCertificate, [NotNullWhen(false)] out string? error)
    {
        (der, isCertificate, error) = (null, false, null);
        try
        {
            var text = Encoding.UTF8.GetString(pem);
            if (PemEncoding.TryFind(text, out var fields))
            {
                var label = text[fields.Label];
                isCertificate = label == "CERTIFICATE";
                if (isCertificate || label == "PUBLIC KEY")
                    der = Convert.FromBase64String(text[fields.Base64Data]);
            }
        }
        catch (FormatException)
        {
            // as if it were not there
        }

        if (der is null)
        {
            error = "-----BEGIN PUBLIC KEY----- or -----BEGIN CERTIFICATE----- is expected.";
            return false;
        }

        var record = new PolicySignerRecord { Name = "new", Der = der, IsCertificate = isCertificate, AddedAt = default, AddedBy = "" };
        return TryAdd(SigningTrust.None, record, out _, out error);
    }

    private static bool TryAdd(SigningTrust trust, PolicySignerRecord signer, [NotNullWhen(true)] out SigningTrust? with, [NotNullWhen(false)] out string? error)
    {
        if (!signer.IsCertificate)
            return trust.TryAdd(signer.Name, signer.Der.Span, out with, out error);
        try
        {
            var certificate = X509CertificateLoader.LoadCertificate(signer.Der.Span);
            return certificate.Extensions.OfType<X509BasicConstraintsExtension>().Any(static b => b.CertificateAuthority)
                ? trust.TryAddRoot(certificate, out with, out error)
                : trust.TryAdd(signer.Name, Encoding.ASCII.GetBytes(certificate.ExportCertificatePem()), out with, out error);
        }
        catch (CryptographicException e)
        {
            (with, error) = (null, e.Message);
            return false;
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "The policy signer {Name} cannot be used: {Why}")]
    private static partial void LogUnusable(ILogger log, string name, string why);
}
