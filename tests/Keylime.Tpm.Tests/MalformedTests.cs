namespace Keylime.Tpm.Tests;

/// <summary>Bytes that are almost a structure, and the words in which they are refused.</summary>
public static class MalformedTests
{
    [Theory]
    [InlineData("", "2 bytes wanted, 0 left, at byte 0.")]
    [InlineData("0008 000b 00050072", "8 bytes wanted, 6 left, at byte 2.")] // a TPM2B_PUBLIC of 8 bytes
    [InlineData("0001 0012 00050072", "nameAlg 0x0012 is no hash this system computes, at byte 2.")] // SM3
    [InlineData("0001 000b 80050072", "objectAttributes 0x80050072 have reserved bits set at byte 4.")]
    [InlineData("0001 000b 00050072 0041", "65 bytes wanted, 0 left, at byte 10.")]
    [InlineData("0001 000b 00050072 0000 0013", "symmetric algorithm 0x0013 is neither AES nor NULL, at byte 10.")] // SM4
    [InlineData("0001 000b 00050072 0000 0006 0081 0043", "an AES key of 129 bits, not 128, 192 or 256, at byte 12.")]
    [InlineData("0001 000b 00050072 0000 0010 0018 000b", "0x0018 is no RSA scheme that this system knows, at byte 12.")] // ECDSA
    [InlineData("0023 000b 00050072 0000 0010 001a 000b 0001", "0x001a is no ECC scheme that this system knows, at byte 12.")] // ECDAA
    [InlineData("0023 000b 00050072 0000 0010 0010 0002", "curve 0x0002 is not P-256, P-384 or P-521, at byte 14.")] // P-224
    [InlineData("0023 000b 00050072 0000 0010 0010 0003 0010 0000 0000 00", "1 bytes left over at byte 22.")]
    [InlineData("0014 0001 000b 00050072 0000 0010 0010 0800 00000000", "2 bytes wanted, 0 left, at byte 22.")]
    [InlineData("000a 0008 000b 00050072 0000", "object type 0x0008 is neither RSA nor ECC, at byte 2.")] // KEYEDHASH
    public static void PublicAreas(string hex, string message) =>
        Assert.Equal(message, Assert.Throws<TpmFormatException>(() => PublicArea.Parse(Structures.Hex(hex))).Message);

    [Theory]
    [InlineData("0001 000b 00000012 0000 0010 0000", "type is 0x0001, not 0x0008, at byte 0.")] // an RSA key
    [InlineData("0008 0010 00000012 0000 0010 0000", "nameAlg 0x0010 is no hash this system computes, at byte 2.")] // without a name
    [InlineData("0008 000b 80000012 0000 0010 0000", "objectAttributes 0x80000012 have reserved bits set at byte 4.")]
    [InlineData("0008 000b 00000012 0000 0005 000b 0000", "scheme is 0x0005, not 0x0010, at byte 10.")] // an HMAC key
    [InlineData("0008 000b 00000012 0041", "65 bytes wanted, 0 left, at byte 10.")]
    public static void Seals(string hex, string message) =>
        Assert.Equal(message, Assert.Throws<TpmFormatException>(() => SealedArea.Parse(Structures.Hex(hex))).Message);

    [Theory]
    [InlineData("ff544346", "magic is 0xff544346, not 0xff544347, at byte 0.")]
    [InlineData("ff544347 8017", "type is 0x8017, not 0x8018, at byte 4.")] // a certification is no quote
    [InlineData("ff544347 8018 0043", "67 bytes wanted, 0 left, at byte 8.")]
    [InlineData("ff544347 8018 0000 0000 0000000000000000 00000000 00000000 02", "clockInfo.safe is 0x02, neither yes nor no, at byte 26.")]
    [InlineData(
        "ff544347 8018 0000 0000 0000000000000000 00000000 00000000 01 0000000000000000 00000011",
        "17 PCR banks, 16 at most, at byte 35.")]
    [InlineData(
        "ff544347 8018 0000 0000 0000000000000000 00000000 00000000 01 0000000000000000 00000001 000b 05 0000000000",
        "a PCR bitmap of 5 bytes, 4 at most, at byte 41.")]
    [InlineData(
        "ff544347 8018 0000 0000 0000000000000000 00000000 00000000 01 0000000000000000 ffffffff",
        "4294967295 PCR banks, 16 at most, at byte 35.")]
    public static void Quotes(string hex, string message) =>
        Assert.Equal(message, Assert.Throws<TpmFormatException>(() => QuoteStatement.Parse(Structures.Hex(hex))).Message);

    [Theory]
    [InlineData("ff544347 8018", "type is 0x8018, not 0x8017, at byte 4.")]
    public static void Certifications(string hex, string message) =>
        Assert.Equal(message, Assert.Throws<TpmFormatException>(() => CertifyStatement.Parse(Structures.Hex(hex))).Message);

    [Theory]
    [InlineData("0005 000b 0000", "sigAlg 0x0005 is not RSASSA, RSAPSS or ECDSA, at byte 0.")] // HMAC
    [InlineData("0010 0000", "sigAlg 0x0010 is not RSASSA, RSAPSS or ECDSA, at byte 0.")] // no signature at all
    [InlineData("0014 000b 0201", "513 bytes wanted, 0 left, at byte 6.")]
    [InlineData("0014 000b 0001 01 02", "1 bytes left over at byte 7.")]
    [InlineData("0018 000b 0001 01", "2 bytes wanted, 0 left, at byte 7.")] // r without s
    public static void Signatures(string hex, string message) =>
        Assert.Equal(message, Assert.Throws<TpmFormatException>(() => TpmSignature.Parse(Structures.Hex(hex))).Message);

    [Fact]
    public static void Signatures_longer_than_any_key_gives() =>
        Assert.Equal(
            "sig has 513 bytes, 512 at most, at byte 4.",
            Assert.Throws<TpmFormatException>(() => TpmSignature.Parse([0, 0x14, 0, 0x0b, 2, 1, .. new byte[513]])).Message);

    [Theory]
    [InlineData("badcc0df", "magic is 0xbadcc0df, not 0xbadcc0de, at byte 0.")]
    [InlineData("badcc0de 00000002", "version is 0x00000002, not 0x00000001, at byte 4.")]
    [InlineData("badcc0de 00000001 0001 00 0001 00 00", "1 bytes left over at byte 14.")]
    public static void Credentials(string hex, string message) =>
        Assert.Equal(message, Assert.Throws<TpmFormatException>(() => CredentialBlob.Parse(Structures.Hex(hex))).Message);

    [Theory]
    [InlineData(0, 0, "0 PCR banks where one is expected, at byte 0.")]
    [InlineData(0, 2, "2 PCR banks where one is expected, at byte 0.")]
    [InlineData(4, 0x12, "PCR bank 0x0012 is no hash this system computes, at byte 4.")]
    [InlineData(6, 0, "a PCR selection of 0 bytes, not 3, at byte 6.")]
    [InlineData(10, 1, "0x01 where nothing is at byte 10.")]
    [InlineData(12, 4, "0x04 where nothing is at byte 12.")] // a second bank, in a slot that is not used
    [InlineData(132, 3, "3 digest lists in 1200 bytes, where 16 PCRs take 2 lists, at byte 132.")]
    [InlineData(136, 7, "a list of 7 digests where 8 are expected, at byte 136.")]
    [InlineData(140, 31, "a PCR value of 31 bytes in a bank of 32, at byte 140.")]
    [InlineData(174, 9, "0x09 where nothing is at byte 174.")] // behind the first value
    public static void PcrBlobs(int at, byte value, string message)
    {
        byte[] bytes = [.. Recorded.Pcrs];
        bytes[at] = value;
        Assert.Equal(message, Assert.Throws<TpmFormatException>(() => PcrBlob.Parse(bytes)).Message);
    }

    [Fact]
    public static void An_off_curve_point_makes_no_key()
    {
        var area = (PublicArea.Ecc)PublicArea.Parse(Structures.Hex(Structures.EccKey));
        Assert.ThrowsAny<System.Security.Cryptography.CryptographicException>(
            () => System.Security.Cryptography.ECDsa.Create(area.ToParameters()));
    }

    [Theory]
    [InlineData("0001 000b 00050072 0000 0010 0014 000b 0000 00000000 0000")] // no bits and no modulus
    [InlineData("0001 000b 00050072 0000 0010 0014 000b 0800 00000000 0000")] // a template
    [InlineData("0001 000b 00050072 0000 0010 0014 000b 0010 00000000 0002 00ff")] // fewer bits than it says
    public static void A_modulus_that_is_none_makes_no_key(string hex)
    {
        var area = (PublicArea.Rsa)PublicArea.Parse(Structures.Hex(hex));
        Assert.Throws<System.Security.Cryptography.CryptographicException>(area.CreateKey);
    }
}
