namespace Keylime.Tpm.Tests;

/// <summary>What the fields of the structures are.</summary>
public static class ValueTests
{
    [Fact]
    public static void A_quote()
    {
        var quote = QuoteStatement.Parse(Structures.Hex(Structures.Quote));
        Assert.Equal("000B0102", Convert.ToHexString(quote.QualifiedSigner.Span));
        Assert.Equal("AABBCC", Convert.ToHexString(quote.QualifyingData.Span));
        Assert.Equal(new ClockInfo(16, ResetCount: 2, RestartCount: 3, IsSafe: true), quote.Clock);
        Assert.Equal(0x0102030405060708ul, quote.FirmwareVersion);
        Assert.Equal([new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(0, 1, 2, 3, 4, 5, 6, 7, 10))], quote.Selections);
        Assert.Equal("DEADBEEF", Convert.ToHexString(quote.PcrDigest.Span));
        Assert.Equal(Structures.Hex(Structures.Quote), quote.Encoded.ToArray());
    }

    [Fact]
    public static void A_certification()
    {
        var statement = CertifyStatement.Parse(Structures.Hex(Structures.Certification));
        Assert.Equal("000B01", Convert.ToHexString(statement.Name.Span));
        Assert.Equal("000B02", Convert.ToHexString(statement.QualifiedName.Span));
        Assert.False(statement.Clock.IsSafe);
    }

    [Fact]
    public static void An_RSA_key()
    {
        var area = Assert.IsType<PublicArea.Rsa>(PublicArea.Parse(Structures.Hex(Structures.RsaKey)));
        Assert.Equal(TpmAlgorithm.Sha256, area.NameAlgorithm);
        Assert.Equal(KeyTemplates.AkRsa2048().Attributes, area.Attributes);
        Assert.Equal(new KeyScheme(TpmAlgorithm.RsaSsa, TpmAlgorithm.Sha256), area.Scheme);
        Assert.Equal(SymmetricDefinition.None, area.Symmetric);
        Assert.Equal((2048, 0u, 2), (area.KeyBits, area.Exponent, area.Modulus.Length));
    }

    [Fact]
    public static void An_ECC_key()
    {
        var area = Assert.IsType<PublicArea.Ecc>(PublicArea.Parse(Structures.Hex(Structures.EccKey)));
        Assert.Equal(KeyTemplates.EkEccP256.Attributes, area.Attributes);
        Assert.Equal(KeyTemplates.EkEccP256.AuthPolicy.ToArray(), area.AuthPolicy.ToArray());
        Assert.Equal(SymmetricDefinition.Aes128Cfb, area.Symmetric);
        Assert.Equal((KeyScheme.None, TpmCurve.NistP256), (area.Scheme, area.Curve));
        Assert.Equal(32, area.ToParameters().Q.X!.Length); // padded
    }

    [Fact]
    public static void Signatures()
    {
        var rsa = Assert.IsType<TpmSignature.Rsa>(TpmSignature.Parse(Structures.Hex(Structures.PssSignature)));
        Assert.Equal((TpmAlgorithm.RsaPss, TpmAlgorithm.Sha384, 4), (rsa.Scheme, rsa.Hash, rsa.Value.Length));
        var ecdsa = Assert.IsType<TpmSignature.Ecdsa>(TpmSignature.Parse(Structures.Hex(Structures.EcdsaSignature)));
        Assert.Equal(("0102", "030405"), (Convert.ToHexString(ecdsa.R.Span), Convert.ToHexString(ecdsa.S.Span)));
    }

    [Fact]
    public static void Recorded_PCRs_are_those_of_the_recorded_quote()
    {
        var quote = QuoteStatement.Parse(Recorded.Quote);
        var pcrs = PcrBlob.Parse(Recorded.Pcrs);
        Assert.Equal(quote.Selections, [pcrs.Selection]);
        Assert.Equal(quote.PcrDigest.ToArray(), pcrs.ComputeDigest(TpmSignature.Parse(Recorded.QuoteSignature).Hash));
    }

    [Fact]
    public static void A_recorded_signature_verifies_with_the_recorded_key()
    {
        using var key = ((PublicArea.Rsa)PublicArea.Parse(Recorded.AttestationKey)).CreateKey();
        foreach (var (message, encoded) in new[] { (Recorded.Quote, Recorded.QuoteSignature), (Recorded.Certification, Recorded.CertificationSignature) })
        {
            var signature = (TpmSignature.Rsa)TpmSignature.Parse(encoded);
            Assert.True(key.VerifyData(
                message, signature.Value.Span, signature.Hash.HashName(), System.Security.Cryptography.RSASignaturePadding.Pkcs1));
        }

        Assert.Equal(
            PublicArea.Parse(Recorded.AttestationKey).ComputeName(), CertifyStatement.Parse(Recorded.Certification).Name.ToArray());
    }

    [Fact]
    public static void Templates_are_those_that_TPMs_are_known_to_take()
    {
        Assert.Equal(
            Structures.Hex("0001 000b 000300b2 0020 837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa 0006 0080 0043 0010 0800 00000000 0100")
                .Concat(new byte[256]),
            KeyTemplates.EkRsa2048.Encode());
        Assert.Equal(
            Structures.Hex("0023 000b 000300b2 0020 837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa 0006 0080 0043 0010 0003 0010 0020")
                .Concat(new byte[32]).Concat(Structures.Hex("0020")).Concat(new byte[32]),
            KeyTemplates.EkEccP256.Encode());
        Assert.Equal(Structures.Hex("0001 000b 00050072 0000 0010 0014 000b 0800 00000000 0000"), KeyTemplates.AkRsa2048().Encode());
        Assert.Equal(Structures.Hex("0023 000b 00050072 0000 0010 0018 000b 0003 0010 0000 0000"), KeyTemplates.AkEccP256().Encode());
    }

    [Theory]
    [InlineData("3003020101", "3003020101")]
    [InlineData("3003020101 3003020102 0000", "3003020101 3003020102")] // padded with zeros
    [InlineData("3003020101 ffff", "3003020101")] // padded with ones
    [InlineData("0005 3003020101 ffff", "3003020101")] // a length in front
    [InlineData("0200 3003020101 ffff", "3003020101")] // the length of the index
    [InlineData("00000005 3003020101", "3003020101")]
    [InlineData("1001 00 0007 1002 3003020101 ff", "3003020101")] // the structure of TPM 1.2
    [InlineData("1001 00 0005 3003020101", "3003020101")]
    [InlineData("308103020101", "308103020101")] // a length in more octets than it needs: BER
    [InlineData("3080020101 0000", "30800201010000")] // indefinite length: BER
    [InlineData("ffff", "")]
    [InlineData("0001 3003020101", "")] // a length that is too short is none
    [InlineData("", "")]
    public static void Certificates_are_taken_out_of_what_is_around_them(string data, string certificates) => Assert.Equal(
        certificates.Split(' ', StringSplitOptions.RemoveEmptyEntries),
        NvCertificates.Split(Structures.Hex(data)).Select(c => Convert.ToHexStringLower(c.Span)));

    [Theory]
    [InlineData("3003020101|3003020102", "3003020101 3003020102")]
    [InlineData("3003020101 30|03020102", "3003020101 3003020102")] // goes on in the next index
    [InlineData("3003|02|0101", "3003020101")] // and in the one behind that
    [InlineData("3003020101 ffff|3003020102 0000|3003020103", "3003020101 3003020102 3003020103")] // each index is larger than what is in it
    [InlineData("3003020101 ffff|0005 3003020102", "3003020101 3003020102")]
    [InlineData("300302ff00|3003020102", "300302ff00 3003020102")] // what looks like padding is the end of a certificate
    [InlineData("ffff|3003020102", "3003020102")]
    [InlineData("", "")]
    public static void A_chain_is_put_together_from_its_indices(string indices, string certificates) => Assert.Equal(
        certificates.Split(' ', StringSplitOptions.RemoveEmptyEntries),
        NvCertificates.Split([.. indices.Split('|').Select(i => (ReadOnlyMemory<byte>)Structures.Hex(i))]).Select(c => Convert.ToHexStringLower(c.Span)));

    [Theory]
    [InlineData("3004020101")]
    [InlineData("3003020101 3003")]
    [InlineData("3080020101 00")]
    [InlineData("30820009 3003020101")] // though what is inside is whole
    public static void Half_a_certificate_is_refused(string data) =>
        Assert.Throws<TpmFormatException>(() => NvCertificates.Split(Structures.Hex(data)));

    [Fact]
    public static void PcrSets()
    {
        Assert.Equal([0, 7, 31], PcrSet.Of(31, 0, 7));
        Assert.Equal("0,7,31", PcrSet.Of(31, 0, 7).ToString());
        Assert.True(PcrSet.Of(1, 2).Covers(PcrSet.Of(2)));
        Assert.False(PcrSet.Of(2).Covers(PcrSet.Of(1, 2)));
        Assert.Equal(PcrSet.Of(1), PcrSet.Of(1, 2).Except(PcrSet.Of(2, 3)));
        Assert.False(PcrSet.Of(1).Contains(33));
        Assert.Throws<ArgumentOutOfRangeException>(() => PcrSet.Of(32));
    }

    [Fact]
    public static void A_selection_that_its_bitmap_cannot_hold_is_not_written() =>
        Assert.Throws<InvalidOperationException>(() => QuoteStatement.Encode(
            default, default, default, 0, [new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(24))], []));
}
