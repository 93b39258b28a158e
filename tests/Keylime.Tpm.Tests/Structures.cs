namespace Keylime.Tpm.Tests;

/// <summary>One good example of every structure, and how it is read and written again.</summary>
internal static class Structures
{
    public const string RsaKey =
        "0001 000b 00050072 0000 0010 0014 000b 0800 00000000 0002 c001"; // a modulus this short is none, but the shape is right

    public const string EccKey =
        "0023 000b 000300b2 0020 837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa 0006 0080 0043 0010 0003 0010"
        + " 0002 0102 0001 03";

    public const string Quote =
        "ff544347 8018 0004 000b0102 0003 aabbcc 0000000000000010 00000002 00000003 01 0102030405060708"
        + " 00000001 000b 03 ff0400 0004 deadbeef";

    public const string Certification =
        "ff544347 8017 0004 000b0102 0003 aabbcc 0000000000000010 00000002 00000003 00 0102030405060708 0003 000b01 0003 000b02";

    public const string RsaSignature = "0014 000b 0004 01020304";

    public const string PssSignature = "0016 000c 0004 01020304";

    public const string EcdsaSignature = "0018 000b 0002 0102 0003 030405";

    public const string Credential = "badcc0de 00000001 0004 01020304 0002 0506";

    public const string Seal =
        "0008 000b 00000012 0020 837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa 0010 0004 01020304";

    public static readonly Dictionary<string, (byte[] Example, Func<byte[], byte[]> Rewrite)> All = new()
    {
        ["rsa key"] = (Hex(RsaKey), b => PublicArea.Parse(b).Encode()),
        ["ecc key"] = (Hex(EccKey), b => PublicArea.Parse(b).Encode()),
        ["quote"] = (Hex(Quote), b => Encode(QuoteStatement.Parse(b))),
        ["certification"] = (Hex(Certification), b => Encode(CertifyStatement.Parse(b))),
        ["rsassa"] = (Hex(RsaSignature), b => TpmSignature.Parse(b).Encode()),
        ["rsapss"] = (Hex(PssSignature), b => TpmSignature.Parse(b).Encode()),
        ["ecdsa"] = (Hex(EcdsaSignature), b => TpmSignature.Parse(b).Encode()),
        ["seal"] = (Hex(Seal), b => SealedArea.Parse(b).Encode()),
        ["credential"] = (Hex(Credential), b => CredentialBlob.Parse(b).Encode()),
        ["pcr blob"] = (Recorded.Pcrs, b => PcrBlob.Parse(b).Encode()),
        ["recorded ek"] = (Recorded.EndorsementKey, b => PublicArea.Parse(b).EncodeSized()),
        ["recorded ak"] = (Recorded.AttestationKey, b => PublicArea.Parse(b).EncodeSized()),
        ["recorded credential"] = (Recorded.Credential, b => CredentialBlob.Parse(b).Encode()),
        ["recorded certification"] = (Recorded.Certification, b => Encode(CertifyStatement.Parse(b))),
        ["recorded quote"] = (Recorded.Quote, b => Encode(QuoteStatement.Parse(b))),
        ["recorded signature"] = (Recorded.QuoteSignature, b => TpmSignature.Parse(b).Encode()),
    };

    public static byte[] Hex(string hex) => Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal));

    private static byte[] Encode(QuoteStatement quote) => QuoteStatement.Encode(
        quote.QualifiedSigner, quote.QualifyingData, quote.Clock, quote.FirmwareVersion, quote.Selections.AsSpan(), quote.PcrDigest.Span);

    private static byte[] Encode(CertifyStatement statement) => CertifyStatement.Encode(
        statement.QualifiedSigner, statement.QualifyingData, statement.Clock, statement.FirmwareVersion,
        statement.Name.Span, statement.QualifiedName.Span);
}
