using System.Security.Cryptography.X509Certificates;
using CsCheck;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>Endorsement certificates as the field has them, good, odd and wrong.</summary>
public sealed class EndorsementTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 24, 12, 0, 0, TimeSpan.Zero);
    private static readonly SoftwareTpm Rsa = new();
    private static readonly SoftwareTpm Ecc = new(TpmAlgorithm.Ecdsa);

    public static TheoryData<string> Good => ["plain", "misordered", "with intermediate", "reversed", "padded", "length in front", "old structure", "padded in PEM", "no key usage"];

    [Theory]
    [MemberData(nameof(Good))]
    public void A_certificate_as_makers_write_them_is_taken(string how)
    {
        foreach (var tpm in (SoftwareTpm[])[Rsa, Ecc])
        {
            using var intermediate = TestCertificates.MakeIntermediate();
            var direct = TestCertificates.Issue(tpm.EndorsementKey, null, new EndorsementShape
            {
                MisorderedSet = how == "misordered",
                NoUsage = how == "no key usage",
            }).RawData;
            var below = TestCertificates.Issue(tpm.EndorsementKey, intermediate);
            var text = how switch
            {
                "with intermediate" => below.ExportCertificatePem() + "\n" + intermediate.ExportCertificatePem(),
                "reversed" => intermediate.ExportCertificatePem() + "\n" + below.ExportCertificatePem(),
                "padded" => Convert.ToBase64String([.. direct, .. new byte[200]]),
                "length in front" => Convert.ToBase64String([(byte)(direct.Length >> 8), (byte)(direct.Length & 0xFF), .. direct, 0xFF, 0xFF]),
                "padded in PEM" => System.Security.Cryptography.PemEncoding.WriteString("CERTIFICATE", [.. direct, .. Enumerable.Repeat((byte)0xFF, 100)]),
                "old structure" => Convert.ToBase64String([0x10, 0x01, 0x00, (byte)((direct.Length + 2) >> 8), (byte)((direct.Length + 2) & 0xFF), 0x10, 0x02, .. direct]),
                _ => Convert.ToBase64String(direct),
            };
            var result = EndorsementKeys.Check(tpm.EndorsementKey, text, [TestCertificates.Root], Now);
            Assert.Equal(new TpmMaker("id:4B4C4D00", "KT-2", "id:00020000"), Assert.IsType<EndorsementResult.Chained>(result).Maker);
        }
    }

    public static TheoryData<string, string> Wrong => new()
    {
        { "no purpose", "2.23.133.8.1" },
        { "another purpose", "2.23.133.8.1" },
        { "an authority", "authority" },
        { "no maker", "manufacturer" },
        { "wrong usage", "key usage" },
        { "unknown critical", "1.2.3.4.5" },
        { "expired", "valid from" },
        { "not yet", "valid from" },
    };

    [Theory]
    [MemberData(nameof(Wrong))]
    public void A_certificate_that_the_profile_does_not_know_is_refused_and_says_why(string how, string why)
    {
        var shape = how switch
        {
            "no purpose" => new EndorsementShape { Purpose = null },
            "another purpose" => new EndorsementShape { Purpose = "1.3.6.1.5.5.7.3.1" },
            "an authority" => new EndorsementShape { Authority = true },
            "no maker" => new EndorsementShape { Maker = false, Subject = "CN=somebody" },
            "wrong usage" => new EndorsementShape { Usage = X509KeyUsageFlags.DigitalSignature },
            "unknown critical" => new EndorsementShape { UnknownCritical = true },
            "expired" => new EndorsementShape { To = Now.AddDays(-1) },
            _ => new EndorsementShape { From = Now.AddDays(1) },
        };
        var result = EndorsementKeys.Check(Ecc.EndorsementKey, TestCertificates.Issue(Ecc.EndorsementKey, null, shape).ExportCertificatePem(), [TestCertificates.Root], Now);
        var finding = Assert.IsType<EndorsementResult.Rejected>(result).Finding;
        Assert.Equal(FindingCodes.EndorsementCertificateProfile, finding.Code);
        Assert.Contains(why, finding.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void A_chain_that_ends_nowhere_names_whom_it_misses_and_where_it_is_said_to_be()
    {
        using var intermediate = TestCertificates.MakeIntermediate();
        var leaf = TestCertificates.Issue(Ecc.EndorsementKey, intermediate, new EndorsementShape { IssuerUrl = "http://maker.example/intermediate.cer" }).ExportCertificatePem();
        var nobody = Assert.IsType<EndorsementResult.Unchained>(EndorsementKeys.Check(Ecc.EndorsementKey, leaf, [], Now));
        Assert.Contains("'CN=Test TPM intermediate, O=Maker' is missing", nobody.Why, StringComparison.Ordinal);
        Assert.Equal(["http://maker.example/intermediate.cer"], nobody.IssuerUrls.Select(u => u.ToString()));
        var half = Assert.IsType<EndorsementResult.Unchained>(EndorsementKeys.Check(Ecc.EndorsementKey, leaf, [intermediate], Now));
        Assert.Contains("'CN=Test TPM root, O=Maker' is missing", half.Why, StringComparison.Ordinal);
        var other = Assert.IsType<EndorsementResult.Unchained>(EndorsementKeys.Check(Ecc.EndorsementKey, leaf + "\n" + intermediate.ExportCertificatePem() + "\n" + TestCertificates.Root.ExportCertificatePem(), [TestCertificates.OtherRoot], Now));
        Assert.Contains("not among the trusted", other.Why, StringComparison.Ordinal); // a root that comes along is nobody's
        Assert.IsType<EndorsementResult.Chained>(EndorsementKeys.Check(Ecc.EndorsementKey, leaf, [intermediate, TestCertificates.Root], Now));
    }

    [Fact]
    public void The_missing_issuer_is_named_though_nobody_is_trusted_and_though_another_has_its_name()
    {
        using var intermediate = TestCertificates.MakeIntermediate();
        var chain = TestCertificates.Issue(Ecc.EndorsementKey, intermediate).ExportCertificatePem() + "\n" + intermediate.ExportCertificatePem();
        var nobody = Assert.IsType<EndorsementResult.Unchained>(EndorsementKeys.Check(Ecc.EndorsementKey, chain, [], Now));
        Assert.Contains("'CN=Test TPM root, O=Maker' is missing: no trusted certificate has that name. ", nobody.Why, StringComparison.Ordinal);

        var withUrl = TestCertificates.Issue(Ecc.EndorsementKey, intermediate, new EndorsementShape { IssuerUrl = "http://maker.example/a b.cer" }).ExportCertificatePem();
        var told = Assert.IsType<EndorsementResult.Unchained>(EndorsementKeys.Check(Ecc.EndorsementKey, withUrl, [TestCertificates.Root], Now));
        Assert.Contains("(it is said to be at http://maker.example/a%20b.cer)", told.Why, StringComparison.Ordinal);

        // of the right name, and of another key: the leaf says so, or its signature does
        using var namesake = TestCertificates.MakeIntermediate();
        var bySignature = Assert.IsType<EndorsementResult.Unchained>(EndorsementKeys.Check(
            Ecc.EndorsementKey, Issue(intermediate, namesIssuersKey: false), [TestCertificates.Root, namesake], Now));
        Assert.Contains("'the TPM's own': certificate signature failure", bySignature.Why, StringComparison.Ordinal);
        var byKey = Assert.IsType<EndorsementResult.Unchained>(EndorsementKeys.Check(
            Ecc.EndorsementKey, Issue(intermediate, namesIssuersKey: true), [TestCertificates.Root, namesake], Now));
        Assert.Contains("another key", byKey.Why, StringComparison.Ordinal);
        Assert.IsType<EndorsementResult.Chained>(EndorsementKeys.Check(Ecc.EndorsementKey, Issue(intermediate, namesIssuersKey: true), [TestCertificates.Root, namesake, intermediate], Now));
    }

    public static TheoryData<string> NoIssuers => ["no authority", "says nothing", "may not sign certificates", "has expired", "too long a path", "unknown critical"];

    // A device's own key has a certificate of the maker too (IDevID), and signs whatever it is told.
    [Theory]
    [MemberData(nameof(NoIssuers))]
    public void What_somebody_signed_who_may_not_is_no_chain(string how)
    {
        using var key = System.Security.Cryptography.ECDsa.Create(System.Security.Cryptography.ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=Test TPM intermediate, O=Maker", key, System.Security.Cryptography.HashAlgorithmName.SHA256);
        if (how != "says nothing")
            request.CertificateExtensions.Add(new X509BasicConstraintsExtension(how != "no authority", how == "too long a path", 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(how is "may not sign certificates" or "no authority" or "says nothing" ? X509KeyUsageFlags.DigitalSignature : X509KeyUsageFlags.KeyCertSign, true));
        if (how == "unknown critical")
            request.CertificateExtensions.Add(new X509Extension("1.2.3.4.5", [0x05, 0x00], critical: true));
        using var issued = request.Create(TestCertificates.Root, TestCertificates.Root.NotBefore, how == "has expired" ? Now.AddDays(-1) : TestCertificates.Root.NotAfter, [1]);
        using var issuer = issued.CopyWithPrivateKey(key);
        var leaf = TestCertificates.Issue(Ecc.EndorsementKey, issuer, new EndorsementShape { To = Now.AddYears(1) }).ExportCertificatePem();
        if (how == "too long a path")
        {
            using var below = TestCertificates.MakeIntermediate("CN=Below, O=Maker", issuer);
            leaf = TestCertificates.Issue(Ecc.EndorsementKey, below).ExportCertificatePem() + "\n" + below.ExportCertificatePem();
        }

        var result = EndorsementKeys.Check(Ecc.EndorsementKey, leaf + "\n" + issuer.ExportCertificatePem(), [TestCertificates.Root], Now);
        Assert.NotEmpty(Assert.IsType<EndorsementResult.Unchained>(result).Why);
    }

    // As CAs write it: with the issuer's key identifier.
    private static string Issue(X509Certificate2 issuer, bool namesIssuersKey)
    {
        using var leaf = TestCertificates.Issue(Ecc.EndorsementKey, issuer);
        var request = new CertificateRequest(leaf.SubjectName, leaf.PublicKey, System.Security.Cryptography.HashAlgorithmName.SHA256);
        foreach (var extension in leaf.Extensions)
            request.CertificateExtensions.Add(extension);
        if (namesIssuersKey)
            request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromSubjectKeyIdentifier(new X509SubjectKeyIdentifierExtension(issuer.PublicKey, false)));
        using var key = issuer.GetECDsaPrivateKey()!;
        return request.Create(issuer.SubjectName, X509SignatureGenerator.CreateForECDsa(key), Now.AddYears(-1), Now.AddYears(1), [2]).ExportCertificatePem();
    }

    [Fact]
    public void A_forged_signature_of_the_right_issuer_is_no_chain()
    {
        using var impostor = MakeRootLike(TestCertificates.Root);
        var leaf = TestCertificates.Issue(Ecc.EndorsementKey, impostor).ExportCertificatePem();
        Assert.IsType<EndorsementResult.Unchained>(EndorsementKeys.Check(Ecc.EndorsementKey, leaf, [TestCertificates.Root], Now));
    }

    [Fact]
    public void Bytes_at_random_and_certificates_with_flipped_bits_are_refused_and_nothing_is_thrown()
    {
        var der = TestCertificates.Issue(Ecc.EndorsementKey).RawData;
        Gen.Byte.Array[0, 300].Sample(bytes => Check(Convert.ToBase64String(bytes)), iter: 3000);
        Gen.String[0, 200].Sample(text => Check(text), iter: 2000);
        Gen.String[0, 200].Sample(text => Check("-----BEGIN CERTIFICATE-----\n" + text + "\n-----END CERTIFICATE-----"), iter: 1000);
        Gen.Int[0, der.Length * 8 - 1].Sample(bit =>
        {
            var flipped = (byte[])der.Clone();
            flipped[bit / 8] ^= (byte)(1 << (bit % 8));
            Check(Convert.ToBase64String(flipped));
        }, iter: 3000);
        Gen.Int[0, der.Length - 1].Sample(length => Check(Convert.ToBase64String(der.AsSpan(0, length))), iter: 1000);

        // whatever it is, it never chains
        static void Check(string text) =>
            Assert.IsNotType<EndorsementResult.Chained>(EndorsementKeys.Check(Ecc.EndorsementKey, text, [TestCertificates.Root], Now));
    }

    [Fact]
    public void What_NV_holds_is_split_or_refused_whatever_it_is()
    {
        Gen.Byte.Array[0, 200].Sample(bytes =>
        {
            try
            {
                var parts = NvCertificates.Split(bytes);
                Assert.All(parts, part => Assert.Equal(0x30, part.Span[0]));
                Assert.InRange(parts.Sum(p => p.Length), 0, bytes.Length);
            }
            catch (TpmFormatException)
            {
                // the one exception
            }
        }, iter: 20_000);
    }

    // The same name, another key.
    private static X509Certificate2 MakeRootLike(X509Certificate2 root)
    {
        var key = System.Security.Cryptography.ECDsa.Create(System.Security.Cryptography.ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(root.SubjectName, key, System.Security.Cryptography.HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        return request.CreateSelfSigned(root.NotBefore, root.NotAfter);
    }
}
