namespace Keylime.Tpm;

/// <summary>The keys of an attesting machine, as templates for TPM2_CreatePrimary and TPM2_Create.</summary>
public static class KeyTemplates
{
    private const ObjectAttributes EndorsementAttributes =
        ObjectAttributes.FixedTpm | ObjectAttributes.FixedParent | ObjectAttributes.SensitiveDataOrigin
        | ObjectAttributes.AdminWithPolicy | ObjectAttributes.Restricted | ObjectAttributes.Decrypt;

    private const ObjectAttributes AttestationAttributes =
        ObjectAttributes.FixedTpm | ObjectAttributes.FixedParent | ObjectAttributes.SensitiveDataOrigin
        | ObjectAttributes.UserWithAuth | ObjectAttributes.Restricted | ObjectAttributes.Sign;

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

    /// <summary>An RSA-2048 attestation key: restricted, so that it signs nothing but the TPM's own statements.</summary>
    /// <param name="scheme">RSASSA or RSAPSS.</param>
    /// <param name="hash">What it signs with; the name's hash is SHA-256.</param>
    public static PublicArea AkRsa2048(TpmAlgorithm scheme = TpmAlgorithm.RsaSsa, TpmAlgorithm hash = TpmAlgorithm.Sha256) => new PublicArea.Rsa
    {
        NameAlgorithm = TpmAlgorithm.Sha256,
        Attributes = AttestationAttributes,
        Scheme = new KeyScheme(scheme, hash),
        KeyBits = 2048,
        Modulus = ReadOnlyMemory<byte>.Empty,
    };

    /// <summary>A P-256 attestation key, ECDSA.</summary>
    public static PublicArea AkEccP256(TpmAlgorithm hash = TpmAlgorithm.Sha256) => new PublicArea.Ecc
    {
        NameAlgorithm = TpmAlgorithm.Sha256,
        Attributes = AttestationAttributes,
        Scheme = new KeyScheme(TpmAlgorithm.Ecdsa, hash),
        Curve = TpmCurve.NistP256,
        X = ReadOnlyMemory<byte>.Empty,
        Y = ReadOnlyMemory<byte>.Empty,
    };
}
