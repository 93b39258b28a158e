using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Keylime.Tpm;

namespace Keylime.Testing;

/// <summary>A TPM maker of the tests: a root, an intermediate, and certificates for endorsement keys, with whatever a test wants wrong in them.</summary>
public static class TestCertificates
{
    public const string EndorsementKeyPurpose = "2.23.133.8.1";
    private const string SubjectAlternativeName = "2.5.29.17";

    private static readonly DateTimeOffset Start = new(2020, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly DateTimeOffset End = new(2060, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public static X509Certificate2 Root { get; } = MakeRoot("CN=Test TPM root, O=Maker");

    public static X509Certificate2 OtherRoot { get; } = MakeRoot("CN=Other TPM root, O=Other");

    public static X509Certificate2 MakeIntermediate(string name = "CN=Test TPM intermediate, O=Maker", X509Certificate2? root = null)
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256); // lives with the certificate
        var request = new CertificateRequest(name, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        using var issued = request.Create(root ?? Root, Start, End, RandomNumberGenerator.GetBytes(8));
        return issued.CopyWithPrivateKey(key);
    }

    /// <summary>A certificate of a TLS server, with its key, signed by itself.</summary>
    public static X509Certificate2 ServerOf(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=" + name, key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(name);
        if (name == "localhost")
            names.AddIpAddress(System.Net.IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        return request.CreateSelfSigned(Start, End);
    }

    /// <summary>A certificate for an endorsement key.</summary>
    public static X509Certificate2 Issue(PublicArea key, X509Certificate2? issuer = null, EndorsementShape? shape = null)
    {
        ArgumentNullException.ThrowIfNull(key);
        issuer ??= Root;
        shape ??= new EndorsementShape();
        using AsymmetricAlgorithm created = key is PublicArea.Rsa rsa ? rsa.CreateKey() : ECDsa.Create(((PublicArea.Ecc)key).ToParameters());
        var request = new CertificateRequest(new X500DistinguishedName(shape.Subject), new PublicKey(created), HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(shape.Authority, false, 0, true));
        if (shape.Usage is { } usage)
            request.CertificateExtensions.Add(new X509KeyUsageExtension(usage, true));
        else if (!shape.NoUsage)
            request.CertificateExtensions.Add(new X509KeyUsageExtension(key is PublicArea.Rsa ? X509KeyUsageFlags.KeyEncipherment : X509KeyUsageFlags.KeyAgreement, true));
        if (shape.Purpose is { } purpose)
            request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(purpose)], false));
        if (shape.Policies.Count > 0)
            request.CertificateExtensions.Add(new X509Extension("2.5.29.32", PolicySequence(shape.Policies), critical: false));
        if (shape.Maker)
            request.CertificateExtensions.Add(new X509Extension(SubjectAlternativeName, MakerName(shape), critical: true));
        if (shape.UnknownCritical)
            request.CertificateExtensions.Add(new X509Extension("1.2.3.4.5", [0x05, 0x00], critical: true));
        if (shape.IssuerUrl is { } url)
            request.CertificateExtensions.Add(new X509AuthorityInformationAccessExtension(null, [url]));

        return request.Create(issuer.SubjectName, GeneratorOf(issuer), shape.From ?? Latest(Start, issuer.NotBefore), shape.To ?? Earliest(End, issuer.NotAfter), RandomNumberGenerator.GetBytes(8));
    }

    /// <summary>A certificate as makers of devices write them: for an IAK if the key is restricted, otherwise for an IDevID.</summary>
    public static X509Certificate2 IssueDevice(PublicArea key, X509Certificate2? issuer = null)
    {
        ArgumentNullException.ThrowIfNull(key);
        var restricted = key.Attributes.HasFlag(ObjectAttributes.Restricted);
        return Issue(key, issuer, new EndorsementShape
        {
            Subject = "CN=device",
            Maker = false,
            Usage = X509KeyUsageFlags.DigitalSignature,
            Purpose = null,
            Policies = restricted ? ["2.23.133.11.1.1", "2.23.133.11.1.3"] : ["2.23.133.11.1.1", "2.23.133.11.1.2"],
        });
    }

    private static byte[] PolicySequence(IEnumerable<string> policies)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            foreach (var policy in policies)
            {
                using (writer.PushSequence())
                    writer.WriteObjectIdentifier(policy);
            }
        }

        return writer.Encode();
    }

    private static DateTimeOffset Latest(DateTimeOffset one, DateTimeOffset other) => one > other ? one : other;

    private static DateTimeOffset Earliest(DateTimeOffset one, DateTimeOffset other) => one < other ? one : other;

    private static X509SignatureGenerator GeneratorOf(X509Certificate2 issuer) =>
        issuer.GetECDsaPrivateKey() is { } key ? X509SignatureGenerator.CreateForECDsa(key) : X509SignatureGenerator.CreateForRSA(issuer.GetRSAPrivateKey()!, RSASignaturePadding.Pkcs1);

    // GeneralNames with one directory name; its three attributes in one set, in the order of makers and not of DER where a test wants that
    private static byte[] MakerName(EndorsementShape shape)
    {
        (string Oid, string Value)[] attributes = [("2.23.133.2.1", shape.Manufacturer), ("2.23.133.2.2", shape.Model), ("2.23.133.2.3", shape.Version)];
        if (shape.MisorderedSet)
            Array.Reverse(attributes);
        var writer = new AsnWriter(AsnEncodingRules.BER);
        using (writer.PushSequence())
        using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 4)))
        using (writer.PushSequence())
        {
            // a set by its bytes, so that nobody sorts it
            var set = new AsnWriter(AsnEncodingRules.BER);
            using (set.PushSequence())
            {
                foreach (var (oid, value) in attributes)
                {
                    using (set.PushSequence())
                    {
                        set.WriteObjectIdentifier(oid);
                        set.WriteCharacterString(UniversalTagNumber.UTF8String, value);
                    }
                }
            }

            var bytes = set.Encode();
            bytes[0] = 0x31; // SET, where a SEQUENCE was written
            writer.WriteEncodedValue(bytes);
        }

        return writer.Encode();
    }

    private static X509Certificate2 MakeRoot(string name)
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(name, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        return request.CreateSelfSigned(Start, End);
    }
}

/// <summary>What an endorsement certificate says; as it should be unless a test wants otherwise.</summary>
public sealed record EndorsementShape
{
    public string Subject { get; init; } = "";

    public string? Purpose { get; init; } = TestCertificates.EndorsementKeyPurpose;

    public X509KeyUsageFlags? Usage { get; init; }

    /// <summary>No key usage at all, which restricts nothing.</summary>
    public bool NoUsage { get; init; }

    public bool Authority { get; init; }

    /// <summary>Certificate policies, by their identifiers.</summary>
    public IReadOnlyList<string> Policies { get; init; } = [];

    /// <summary>Whether it has the TPM's manufacturer, model and version.</summary>
    public bool Maker { get; init; } = true;

    public string Manufacturer { get; init; } = "id:4B4C4D00";

    public string Model { get; init; } = "KT-2";

    public string Version { get; init; } = "id:00020000";

    public bool MisorderedSet { get; init; }

    public bool UnknownCritical { get; init; }

    public string? IssuerUrl { get; init; }

    public DateTimeOffset? From { get; init; }

    public DateTimeOffset? To { get; init; }
}
