using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Keylime.Attestation;

/// <summary>
/// What a device's certificate must say of its key (TCG TPM 2.0 Keys for Device Identity and Attestation 1.0, 8). A public area is the agent's own word; that
/// a key signs nothing but its TPM's statements is known only if whoever certified it looked, and says so. Without that, a device identity key, which
/// signs anything, could pose as an attestation key.
/// </summary>
internal static class DeviceProfile
{
    private const string CertificatePolicies = "2.5.29.32";
    private const string VerifiedRestricted = "2.23.133.11.1.3";   // tcg-cap-verifiedTPMRestricted: the issuer verified fixedTPM and restricted
    private const string AttestationKeyPurpose = "2.23.133.8.3";   // tcg-kp-AIKCertificate

    /// <param name="attestation">For an IAK; otherwise for an IDevID.</param>
    /// <returns>What speaks against it; <see langword="null"/> where nothing does.</returns>
    /// <exception cref="AsnContentException">Its policies cannot be read.</exception>
    public static string? Objection(X509Certificate2 certificate, bool attestation)
    {
        if (certificate.Extensions.OfType<X509BasicConstraintsExtension>().Any(static b => b.CertificateAuthority))
            return "it is that of an authority";
        if (certificate.Extensions.OfType<X509KeyUsageExtension>().FirstOrDefault() is { } usage && !usage.KeyUsages.HasFlag(X509KeyUsageFlags.DigitalSignature))
            return $"its key usage lacks {X509KeyUsageFlags.DigitalSignature}";

        var purposes = certificate.Extensions.OfType<X509EnhancedKeyUsageExtension>().SelectMany(static e => e.EnhancedKeyUsages.Cast<Oid>()).Select(static p => p.Value);
        return attestation && !purposes.Any(static p => p is AttestationKeyPurpose or VerifiedRestricted) && !PoliciesOf(certificate).Contains(VerifiedRestricted)
            ? $"nothing in it says that the key is restricted: neither the policy {VerifiedRestricted} nor the purpose {AttestationKeyPurpose}"
            : null;
    }

    // RFC 5280, 4.2.1.4: a sequence of identifiers, each with qualifiers that nobody needs here
    private static List<string> PoliciesOf(X509Certificate2 certificate)
    {
        var found = new List<string>();
        if (certificate.Extensions.FirstOrDefault(static e => e.Oid?.Value == CertificatePolicies) is not { } extension)
            return found;

        var policies = new AsnReader(extension.RawData, AsnEncodingRules.BER).ReadSequence();
        while (policies.HasData)
            found.Add(policies.ReadSequence().ReadObjectIdentifier());
        return found;
    }
}
