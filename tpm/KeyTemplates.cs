using System.Text;

namespace Keylime.Tpm;

/// <summary>An endorsement key that TCG's profile knows: its template, and where its certificate is.</summary>
/// <param name="Name">As the profile has it: <c>L-1</c> … <c>H-7</c>.</param>
/// <param name="CertificateIndex">The NV index of its certificate.</param>
public sealed record EndorsementKeyProfile(string Name, PublicArea Template, uint CertificateIndex);

/// <summary>The keys of an attesting machine, as templates for TPM2_CreatePrimary and TPM2_Create.</summary>
public static class KeyTemplates
{
    private const ObjectAttributes EndorsementAttributes =
        ObjectAttributes.FixedTpm | ObjectAttributes.FixedParent | ObjectAttributes.SensitiveDataOrigin
        | ObjectAttributes.AdminWithPolicy | ObjectAttributes.Restricted | ObjectAttributes.Decrypt;

    private const ObjectAttributes AttestationAttributes =
        ObjectAttributes.FixedTpm | ObjectAttributes.FixedParent | ObjectAttributes.SensitiveDataOrigin
        | ObjectAttributes.UserWithAuth | ObjectAttributes.Restricted | ObjectAttributes.Sign;

    private const ObjectAttributes DeviceAttributes =
        ObjectAttributes.FixedTpm | ObjectAttributes.FixedParent | ObjectAttributes.SensitiveDataOrigin
        | ObjectAttributes.UserWithAuth | ObjectAttributes.AdminWithPolicy | ObjectAttributes.Sign;

    // PolicyA for SHA-256: TPM2_PolicySecret(TPM_RH_ENDORSEMENT). TCG EK Credential Profile 2.4, B.6.2
    private static readonly byte[] PolicyA = Convert.FromHexString("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa");

    /// <summary>NV index of the RSA-2048 EK certificate (TCG EK Credential Profile 2.4, 2.2.1.4).</summary>
    public const uint RsaCertificateIndex = 0x01C00002;

    /// <summary>NV index of the P-256 EK certificate.</summary>
    public const uint EccCertificateIndex = 0x01C0000A;

    /// <summary>First NV index of the certificate chain; the last is 0x01C001FF.</summary>
    public const uint ChainFirstIndex = 0x01C00100;

    public const uint ChainLastIndex = 0x01C001FF;

    /// <summary>Template L-1 (TCG EK Credential Profile 2.4, B.3.3): RSA-2048 endorsement key.</summary>
    public static PublicArea EkRsa2048 { get; } = new PublicArea.Rsa
    {
        NameAlgorithm = TpmAlgorithm.Sha256,
        Attributes = EndorsementAttributes,
        AuthPolicy = PolicyA,
        Symmetric = SymmetricDefinition.Aes128Cfb,
        KeyBits = 2048,
        Modulus = new byte[256],
    };

    /// <summary>Template L-2 (TCG EK Credential Profile 2.4, B.3.4): P-256 endorsement key.</summary>
    public static PublicArea EkEccP256 { get; } = new PublicArea.Ecc
    {
        NameAlgorithm = TpmAlgorithm.Sha256,
        Attributes = EndorsementAttributes,
        AuthPolicy = PolicyA,
        Symmetric = SymmetricDefinition.Aes128Cfb,
        Curve = TpmCurve.NistP256,
        X = new byte[32],
        Y = new byte[32],
    };

    /// <summary>The endorsement keys of the profile (TCG EK Credential Profile 2.4, 2.2.1.4 and B.4), those that most TPMs have first.</summary>
    public static IReadOnlyList<EndorsementKeyProfile> EndorsementKeys { get; } =
    [
        new("L-1", EkRsa2048, RsaCertificateIndex),
        new("L-2", EkEccP256, EccCertificateIndex),
        new("H-1", HighRsa(2048, TpmAlgorithm.Sha256), 0x01C00012),
        new("H-2", HighEcc(TpmCurve.NistP256, TpmAlgorithm.Sha256), 0x01C00014),
        new("H-3", HighEcc(TpmCurve.NistP384, TpmAlgorithm.Sha384), 0x01C00016),
        new("H-4", HighEcc(TpmCurve.NistP521, TpmAlgorithm.Sha512), 0x01C00018),
        new("H-6", HighRsa(3072, TpmAlgorithm.Sha384), 0x01C0001C),
        new("H-7", HighRsa(4096, TpmAlgorithm.Sha384), 0x01C0001E),
    ];

    /// <summary>An RSA-2048 attestation key: restricted, so that it signs nothing but the TPM's own statements.</summary>
    /// <param name="scheme">RSASSA or RSAPSS.</param>
    /// <param name="hash">What it signs with; the name's hash is SHA-256.</param>
    public static PublicArea AkRsa2048(TpmAlgorithm scheme = TpmAlgorithm.RsaSsa, TpmAlgorithm hash = TpmAlgorithm.Sha256) => AkRsa(2048, scheme, hash);

    /// <summary>The same of another size.</summary>
    public static PublicArea AkRsa(ushort bits, TpmAlgorithm scheme = TpmAlgorithm.RsaSsa, TpmAlgorithm hash = TpmAlgorithm.Sha256) => new PublicArea.Rsa
    {
        NameAlgorithm = TpmAlgorithm.Sha256,
        Attributes = AttestationAttributes,
        Scheme = new KeyScheme(scheme, hash),
        KeyBits = bits,
        Modulus = ReadOnlyMemory<byte>.Empty,
    };

    /// <summary>A P-256 attestation key, ECDSA.</summary>
    public static PublicArea AkEccP256(TpmAlgorithm hash = TpmAlgorithm.Sha256) => AkEcc(TpmCurve.NistP256, hash);

    /// <summary>The same on another curve.</summary>
    public static PublicArea AkEcc(TpmCurve curve, TpmAlgorithm hash = TpmAlgorithm.Sha256) => new PublicArea.Ecc
    {
        NameAlgorithm = TpmAlgorithm.Sha256,
        Attributes = AttestationAttributes,
        Scheme = new KeyScheme(TpmAlgorithm.Ecdsa, hash),
        Curve = curve,
        X = ReadOnlyMemory<byte>.Empty,
        Y = ReadOnlyMemory<byte>.Empty,
    };

    /// <summary>The initial attestation key of a device (TCG TPM 2.0 Keys for Device Identity and Attestation 1.0, 7.3): restricted.</summary>
    /// <param name="template"><c>H-1</c> (RSA-2048, PSS), <c>H-2</c> (P-256), <c>H-3</c> (P-384) or <c>H-4</c> (P-521).</param>
    /// <exception cref="ArgumentException">There is no such template.</exception>
    public static PublicArea Iak(string template) => Device(template, "IAK", DeviceAttributes | ObjectAttributes.Restricted, template switch
    {
        "H-1" or "H-2" => "5437182326e414fca797d5f174615a1641f61255797c3a2b22c21d120b2d1e07",
        "H-3" => "129d94ebf84556652c6eef43bbb757512ac87e52be7b349ca6ce4d826f749fcf672f51716c5cbb605f313bf345aab312",
        _ => "8060d1fb31716a29e48a6e5fece088bcfc1b278fc162255e81c3eca3544cd44af94410c3715d561cccd9e39a6cb2646d43535bb54ea88710deb5f7836bd9b586",
    });

    /// <summary>The initial device identity key (the same document): it signs anything.</summary>
    public static PublicArea IDevId(string template) => Device(template, "IDEVID", DeviceAttributes, template switch
    {
        "H-1" or "H-2" => "ad6b3a2284fd698a0710bf5cc1b9bdf15e2532e3f601fa4b93a6a8fa8de579ea",
        "H-3" => "4db1aa836d0b5615df6ee53a40ef70c61c217f4303d44695925972bc927006cfa5cbdf6dc18c4dbe329b2f1542c3dd33",
        _ => "7dd7500fd6c1b94f97a6af910da147301ef28f662fee06f225a4ccadda3b4e6b38e66b2f3ad5dee1a0503cd2daedb1e68cfe4f84b03a8cd22bb6a976f071a72f",
    });

    // PolicyB: TPM2_PolicyOR of PolicyA and of TPM2_PolicyAuthorizeNV. TCG EK Credential Profile 2.4, B.6.5
    private static byte[] PolicyB(TpmAlgorithm hash) => Convert.FromHexString(hash switch
    {
        TpmAlgorithm.Sha256 => "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0",
        TpmAlgorithm.Sha384 => "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12",
        _ => "b8221ca69e8550a4914de3faa6a18c072cc01208073a928d5d66d59ef79e49a429c41a6b269571d57edb25fbdb1838425608b413cd616a5f6db5b6071af99bea",
    });

    private static SymmetricDefinition SymmetricOf(TpmAlgorithm hash) => hash == TpmAlgorithm.Sha256 ? SymmetricDefinition.Aes128Cfb : SymmetricDefinition.Aes256Cfb;

    private static PublicArea.Rsa HighRsa(ushort bits, TpmAlgorithm hash) => new()
    {
        NameAlgorithm = hash,
        Attributes = EndorsementAttributes | ObjectAttributes.UserWithAuth,
        AuthPolicy = PolicyB(hash),
        Symmetric = SymmetricOf(hash),
        KeyBits = bits,
        Modulus = ReadOnlyMemory<byte>.Empty,
    };

    private static PublicArea.Ecc HighEcc(TpmCurve curve, TpmAlgorithm hash) => new()
    {
        NameAlgorithm = hash,
        Attributes = EndorsementAttributes | ObjectAttributes.UserWithAuth,
        AuthPolicy = PolicyB(hash),
        Symmetric = SymmetricOf(hash),
        Curve = curve,
        X = ReadOnlyMemory<byte>.Empty,
        Y = ReadOnlyMemory<byte>.Empty,
    };

    private static PublicArea Device(string template, string unique, ObjectAttributes attributes, string policy)
    {
        var (curve, hash) = template switch
        {
            "H-1" => ((TpmCurve?)null, TpmAlgorithm.Sha256),
            "H-2" => (TpmCurve.NistP256, TpmAlgorithm.Sha256),
            "H-3" => (TpmCurve.NistP384, TpmAlgorithm.Sha384),
            "H-4" => (TpmCurve.NistP521, TpmAlgorithm.Sha512),
            _ => throw new ArgumentException($"'{template}' is no template: H-1, H-2, H-3 or H-4 is expected.", nameof(template)),
        };
        var mark = Encoding.ASCII.GetBytes(unique);
        return curve is { } named
            ? new PublicArea.Ecc
            {
                NameAlgorithm = hash,
                Attributes = attributes,
                AuthPolicy = Convert.FromHexString(policy),
                Scheme = new KeyScheme(TpmAlgorithm.Ecdsa, hash),
                Curve = named,
                X = mark,
                Y = mark,
            }
            : new PublicArea.Rsa
            {
                NameAlgorithm = hash,
                Attributes = attributes,
                AuthPolicy = Convert.FromHexString(policy),
                Scheme = attributes.HasFlag(ObjectAttributes.Restricted) ? new KeyScheme(TpmAlgorithm.RsaPss, hash) : KeyScheme.None,
                KeyBits = 2048,
                Modulus = mark,
            };
    }
}
