using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>Who made a TPM, as its endorsement certificate says (TCG EK Credential Profile 2.4, 3.1.2).</summary>
/// <param name="Manufacturer">The vendor's id of TCG's registry, as <c>id:</c> and eight hex digits.</param>
/// <param name="Model">The part number.</param>
/// <param name="Version">The firmware's, as <c>id:</c> and hex digits.</param>
public sealed record TpmMaker(string Manufacturer, string Model, string Version);

/// <summary>What an endorsement certificate must say of itself, beside being signed by the right people (TCG EK Credential Profile 2.4, 3.2).</summary>
internal static class EndorsementProfile
{
    private const string EndorsementKeyPurpose = "2.23.133.8.1"; // tcg-kp-EKCertificate
    private const string ManufacturerAttribute = "2.23.133.2.1";
    private const string ModelAttribute = "2.23.133.2.2";
    private const string VersionAttribute = "2.23.133.2.3";
    private const string SubjectAlternativeName = "2.5.29.17";
    private const int MaxText = 256;

    // Subject alternative name, basic constraints, key usage, extended key usage, policies: what is looked at here or by the chain.
    private static readonly string[] Understood = [SubjectAlternativeName, "2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.32"];

    /// <returns>What speaks against it; <see langword="null"/> where nothing does.</returns>
    public static string? Objection(X509Certificate2 certificate, PublicArea key, DateTimeOffset at)
    {
        if (at < certificate.NotBefore.ToUniversalTime() || at > certificate.NotAfter.ToUniversalTime())
            return $"it is valid from {certificate.NotBefore.ToUniversalTime():u} to {certificate.NotAfter.ToUniversalTime():u}, and it is {at:u}";

        var unknown = certificate.Extensions.FirstOrDefault(static e => e.Critical && !Understood.Contains(e.Oid?.Value));
        if (unknown is not null)
            return $"its critical extension {unknown.Oid?.Value} is not understood";
        if (certificate.Extensions.OfType<X509BasicConstraintsExtension>().Any(static b => b.CertificateAuthority))
            return "it is the certificate of an authority";

        // id-kp-EKCertificate may stand beside other purposes, and must be there.
        var purposes = certificate.Extensions.OfType<X509EnhancedKeyUsageExtension>().SelectMany(static e => e.EnhancedKeyUsages.Cast<Oid>());
        if (!purposes.Any(static p => p.Value == EndorsementKeyPurpose))
            return $"its extended key usage lacks {EndorsementKeyPurpose}, the purpose of endorsement keys";

        var wanted = key is PublicArea.Rsa ? X509KeyUsageFlags.KeyEncipherment : X509KeyUsageFlags.KeyAgreement;
        if (certificate.Extensions.OfType<X509KeyUsageExtension>().FirstOrDefault() is { } usage && !usage.KeyUsages.HasFlag(wanted))
            return $"its key usage lacks {wanted}";

        return ReadMaker(certificate) is null ? "its subject alternative name lacks the TPM's manufacturer, model and version" : null;
    }

    /// <summary>The maker, from the directory name among the alternative names; makers write it in more ways than DER allows.</summary>
    public static TpmMaker? ReadMaker(X509Certificate2 certificate)
    {
        if (certificate.Extensions.FirstOrDefault(static e => e.Oid?.Value == SubjectAlternativeName) is not { } extension)
            return null;

        try
        {
            var names = new AsnReader(extension.RawData, AsnEncodingRules.BER).ReadSequence();
            var found = new Dictionary<string, string>();
            while (names.HasData)
            {
                var directoryName = new Asn1Tag(TagClass.ContextSpecific, 4, isConstructed: true);
                if (names.PeekTag().HasSameClassAndValue(directoryName))
                    ReadDirectoryName(names.ReadSequence(directoryName), found);
                else
                    names.ReadEncodedValue();
            }

            return found.TryGetValue(ManufacturerAttribute, out var manufacturer) && found.TryGetValue(ModelAttribute, out var model)
                && found.TryGetValue(VersionAttribute, out var version) ? new TpmMaker(manufacturer, model, version) : null;
        }
        catch (AsnContentException)
        {
            return null;
        }
    }

    private static void ReadDirectoryName(AsnReader name, Dictionary<string, string> found)
    {
        // RDNSequence of sets of (type, value); one maker sorts its sets otherwise than DER does
        var parts = name.ReadSequence();
        while (parts.HasData)
        {
            var part = parts.ReadSetOf(skipSortOrderValidation: true);
            while (part.HasData)
            {
                var attribute = part.ReadSequence();
                var type = attribute.ReadObjectIdentifier();
                var value = Encoding.UTF8.GetString(attribute.PeekContentBytes().Span);
                if (value.Length is > 0 and <= MaxText && !value.Any(char.IsControl))
                    found[type] = value;
            }
        }
    }
}
