using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using CsCheck;

namespace Keylime.Attestation.Tests;

/// <summary>Signed envelopes: who counts as a signer, and who does not.</summary>
public sealed class DsseTests : IDisposable
{
    private const string Payload = """{"digests":{}}""";

    private static readonly DateTimeOffset Now = new(2026, 11, 24, 12, 0, 0, TimeSpan.Zero);

    private readonly List<IDisposable> _made = [];

    public void Dispose() => _made.ForEach(static made => made.Dispose());

    [Theory]
    [InlineData("p256")]
    [InlineData("p384")]
    [InlineData("p521")]
    [InlineData("rsa")]
    public void A_trusted_key_s_signature_counts(string name)
    {
        var key = Key(name);
        var envelope = Parse(DsseEnvelope.Sign(DsseEnvelope.RuntimePolicyType, Encoding.UTF8.GetBytes(Payload), Signer(key)));
        var verified = Assert.IsType<DsseResult.Verified>(envelope.Verify(Trust(("ops", key)), Now));
        Assert.Equal((DsseEnvelope.RuntimePolicyType, Payload), (verified.PayloadType, Encoding.UTF8.GetString(verified.Payload.Span)));
        Assert.Equal([new VerifiedSigner(FileKeys.Read(key).Key.Hash, "ops", null)], verified.Signers);

        Assert.IsType<DsseResult.Rejected>(envelope.Verify(Trust(("other", Key(name == "p256" ? "p384" : "p256"))), Now));
        Assert.IsType<DsseResult.Rejected>(envelope.Verify(SigningTrust.None, Now));
    }

    [Fact]
    public void Whatever_is_changed_is_not_signed()
    {
        var signed = DsseEnvelope.Sign(DsseEnvelope.RuntimePolicyType, Encoding.UTF8.GetBytes(Payload), Signer(FileKeys.P256));
        var trust = Trust(("ops", FileKeys.P256));
        foreach (var change in (Action<JsonNode>[])
        [
            static e => e["payloadType"] = "application/vnd.in-toto+json",
            static e => e["payload"] = Convert.ToBase64String("{}"u8),
            static e => e["payload"] = Convert.ToBase64String(Encoding.UTF8.GetBytes(Payload + " ")),
            static e => e["signatures"]![0]!["sig"] = Convert.ToBase64String(new byte[70]),
        ])
        {
            var node = JsonNode.Parse(signed)!;
            change(node);
            Assert.IsType<DsseResult.Rejected>(Parse(Encoding.UTF8.GetBytes(node.ToJsonString())).Verify(trust, Now));
        }

        var hinted = JsonNode.Parse(signed)!;
        hinted["signatures"]![0]!["keyid"] = "anything"; // a hint, and no part of what is signed
        hinted["x"] = 1;
        Assert.IsType<DsseResult.Verified>(Parse(Encoding.UTF8.GetBytes(hinted.ToJsonString())).Verify(trust, Now));
    }

    [Fact]
    public void What_is_signed_has_lengths_in_front_of_type_and_payload() =>
        Assert.Equal("DSSEv1 29 http://example.com/HelloWorld 11 hello world", // the example of protocol.md
            Encoding.ASCII.GetString(new DsseEnvelope("http://example.com/HelloWorld", "hello world"u8.ToArray(), []).PreAuthenticationEncoding()));

    [Fact]
    public void A_key_counts_once()
    {
        var once = DsseEnvelope.Sign("t", "p"u8, Signer(FileKeys.P256), Signer(FileKeys.P256));
        var trust = Trust(("a", FileKeys.P256), ("b", FileKeys.P256), ("c", FileKeys.P384));
        Assert.Equal(["a"], Assert.IsType<DsseResult.Verified>(Parse(once).Verify(trust, Now)).Signers.Select(s => s.Name));
        var twice = Parse(once).AddSignatures(Signer(FileKeys.P384), Signer(FileKeys.P521));
        Assert.Equal(["a", "c"], Assert.IsType<DsseResult.Verified>(Parse(twice).Verify(trust, Now)).Signers.Select(s => s.Name)); // one that nobody trusts hurts nobody
        Assert.Throws<InvalidOperationException>(() => DsseEnvelope.Sign("t", "p"u8));
    }

    [Fact]
    public void A_certificate_counts_if_it_chains_to_a_root_and_may_sign()
    {
        using var root = Authority("CN=policy root");
        using var other = Authority("CN=policy root"); // of the same name
        var trust = TrustRoot(root);
        var (key, certificate) = Issue(root);
        var verified = Assert.IsType<DsseResult.Verified>(Parse(Sign(key, certificate)).Verify(trust, Now));
        Assert.Equal([new VerifiedSigner(FileKeys.Read(key).Key.Hash, "CN=signer of files", "CN=policy root")], verified.Signers);

        Rejected(Sign(key, certificate), TrustRoot(other), Now, "not valid"); // of another key, whatever it is called
        Rejected(Sign(key, certificate), trust, Now.AddYears(2), "not valid");
        Rejected(Sign(FileKeys.P384, FileKeys.Certify(FileKeys.P384)), trust, Now, "not among the trusted");
        Rejected(Sign(key, Issue(root, r => r.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true)), key).Certificate), trust, Now, "an authority's");
        Rejected(Sign(key, Issue(root, r => r.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyAgreement, true)), key).Certificate), trust, Now, "keyUsage");
        Rejected(Sign(key, Issue(root, r => r.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1")], false)), key).Certificate), trust, Now, "extendedKeyUsage");
        var signing = Issue(root, r => r.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.3")], false)), key).Certificate;
        Assert.IsType<DsseResult.Verified>(Parse(Sign(key, signing)).Verify(trust, Now));

        static void Rejected(byte[] envelope, SigningTrust trust, DateTimeOffset at, string why) =>
            Assert.Contains(why, Assert.IsType<DsseResult.Rejected>(Parse(envelope).Verify(trust, at)).Why);
    }

    [Fact]
    public void The_certificate_that_verifies_is_the_one_that_chains()
    {
        // What chains is somebody's; who signed is somebody else, and sends the own certificate along, before or behind it.
        using var root = Authority("CN=policy root");
        var (_, good) = Issue(root);
        using var attacker = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var own = FileKeys.Certify(attacker);
        foreach (var pem in (string[])[good.ExportCertificatePem(), good.ExportCertificatePem() + "\n" + own.ExportCertificatePem(), own.ExportCertificatePem() + "\n" + good.ExportCertificatePem()])
        {
            var envelope = JsonNode.Parse(DsseEnvelope.Sign("t", "p"u8, Signer(attacker)))!;
            envelope["signatures"]![0]!["keyid"] = Convert.ToBase64String(Encoding.ASCII.GetBytes(pem));
            Assert.IsType<DsseResult.Rejected>(Parse(Encoding.UTF8.GetBytes(envelope.ToJsonString())).Verify(TrustRoot(root), Now));
        }
    }

    [Fact]
    public void An_intermediate_completes_a_chain_sent_or_trusted()
    {
        using var root = Authority("CN=policy root");
        using var intermediateKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var bare = FileKeys.Certify(intermediateKey, null, r => r.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true)), root);
        using var intermediate = bare.CopyWithPrivateKey(intermediateKey);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=signer", key, HashAlgorithmName.SHA256);
        using var leaf = request.Create(intermediate, new DateTimeOffset(2026, 2, 1, 0, 0, 0, TimeSpan.Zero), new DateTimeOffset(2026, 12, 1, 0, 0, 0, TimeSpan.Zero), [7]);

        var sent = DsseEnvelope.Sign("t", "p"u8, Signer(key, leaf.ExportCertificatePem() + "\n" + bare.ExportCertificatePem()));
        Assert.IsType<DsseResult.Verified>(Parse(sent).Verify(TrustRoot(root), Now));
        var alone = DsseEnvelope.Sign("t", "p"u8, Signer(key, leaf.ExportCertificatePem()));
        Assert.Contains("is missing", Assert.IsType<DsseResult.Rejected>(Parse(alone).Verify(TrustRoot(root), Now)).Why);
        Assert.True(TrustRoot(root).TryAddRoot(bare, out var both, out _));
        Assert.IsType<DsseResult.Verified>(Parse(alone).Verify(both, Now));
    }

    [Fact]
    public void A_pinned_certificate_counts_while_it_is_valid_and_whoever_issued_it()
    {
        var certificate = FileKeys.Certify(FileKeys.P256);
        Assert.True(SigningTrust.None.TryAdd("pinned", Encoding.ASCII.GetBytes(certificate.ExportCertificatePem()), out var trust, out var error), error);
        var envelope = Parse(DsseEnvelope.Sign("t", "p"u8, Signer(FileKeys.P256)));
        Assert.IsType<DsseResult.Verified>(envelope.Verify(trust, Now));
        Assert.Contains("valid from 2026-01-01", Assert.IsType<DsseResult.Rejected>(envelope.Verify(trust, Now.AddYears(1))).Why);
    }

    [Fact]
    public void Trust_takes_no_private_key_and_no_root_that_is_none()
    {
        Assert.False(SigningTrust.None.TryAdd("x", Encoding.ASCII.GetBytes(FileKeys.P256.ExportPkcs8PrivateKeyPem()), out _, out var secret));
        Assert.Contains("a private key", secret);
        Assert.False(SigningTrust.None.TryAdd("x", "nonsense"u8, out _, out _));
        Assert.False(SigningTrust.None.TryAddRoot(FileKeys.Certify(FileKeys.P256), out _, out var leaf));
        Assert.Contains("no authority", leaf);
        Assert.True(SigningTrust.None.IsEmpty);
    }

    [Fact]
    public void Key_ids_are_upstream_s()
    {
        using var signer = Signer(FileKeys.P256);
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(FileKeys.P256.ExportSubjectPublicKeyInfoPem() + "\n"))), signer.KeyId);
        var pem = FileKeys.Certify(FileKeys.P256).ExportCertificatePem() + "\n";
        Assert.Equal(Convert.ToBase64String(Encoding.ASCII.GetBytes(pem)), Signer(FileKeys.P256, pem).KeyId);
    }

    [Fact]
    public void A_signer_is_refused_in_words()
    {
        using var small = RSA.Create(1024);
        (string Key, string Certificate, string Why)[] cases =
        [
            ("", "", "no private key"),
            (FileKeys.P256.ExportSubjectPublicKeyInfoPem(), "", "no private key"),
            (small.ExportPkcs8PrivateKeyPem(), "", "1024 bits"),
            (FileKeys.P256.ExportEncryptedPkcs8PrivateKeyPem("x", new PbeParameters(PbeEncryptionAlgorithm.Aes128Cbc, HashAlgorithmName.SHA256, 1)), "", "encrypted"),
            (FileKeys.P256.ExportECPrivateKeyPem(), FileKeys.Certify(FileKeys.P384).ExportCertificatePem(), "of another key"),
            (FileKeys.P256.ExportECPrivateKeyPem(), "nonsense", "no certificate"),
        ];
        foreach (var (key, certificate, why) in cases)
        {
            Assert.False(DsseSigner.TryCreate(key, certificate, out _, out var error));
            Assert.Contains(why, error);
        }
    }

    [Theory]
    [InlineData("", "$: no JSON: ")]
    [InlineData("[]", "$: Array found")]
    [InlineData("{}", "$.payloadType: the member is missing")]
    [InlineData("""{"payloadType":"t"}""", "$.payload: the member is missing")]
    [InlineData("""{"payloadType":7,"payload":"eA==","signatures":[{"sig":"eA=="}]}""", "$.payloadType: Number found")]
    [InlineData("""{"payloadType":"a b","payload":"eA==","signatures":[{"sig":"eA=="}]}""", "$.payloadType: 1 to 255")]
    [InlineData("""{"payloadType":"t","payload":"","signatures":[{"sig":"eA=="}]}""", "$.payload: 0 bytes")]
    [InlineData("""{"payloadType":"t","payload":"eA","signatures":[{"sig":"eA=="}]}""", "$.payload: base64, padded")]
    [InlineData("""{"payloadType":"t","payload":"_-+/","signatures":[{"sig":"eA=="}]}""", "$.payload: base64, padded")]
    [InlineData("""{"payloadType":"t","payload":"eA==","signatures":[]}""", "$.signatures: 0 signatures")]
    [InlineData("""{"payloadType":"t","payload":"eA==","signatures":{}}""", "$.signatures: Object found")]
    [InlineData("""{"payloadType":"t","payload":"eA==","signatures":["x"]}""", "$.signatures[0]: String found")]
    [InlineData("""{"payloadType":"t","payload":"eA==","signatures":[{"keyid":"x"}]}""", "$.signatures[0].sig: the member is missing")]
    [InlineData("""{"payloadType":"t","payload":"eA==","signatures":[{"keyid":7,"sig":"eA=="}]}""", "$.signatures[0].keyid: Number found")]
    [InlineData("""{"payloadType":"t","payload":"eA==","payload":"eQ==","signatures":[{"sig":"eA=="}]}""", "payload")]
    public void What_is_no_envelope_is_refused_with_its_place(string json, string where)
    {
        Assert.False(DsseEnvelope.TryParse(Encoding.UTF8.GetBytes(json), out var envelope, out var error));
        Assert.Null(envelope);
        Assert.Contains(where, error);
    }

    [Theory]
    [InlineData("eyJ+fn4/Pz8iOjF9", "eyJ-fn4_Pz8iOjF9")]
    public void Both_alphabets_of_base64_say_the_same(string standard, string urlSafe) =>
        Assert.Equal(Envelope(standard).UntrustedPayload.ToArray(), Envelope(urlSafe).UntrustedPayload.ToArray());

    [Fact]
    public void Hexadecimal_is_read_as_the_base64_that_it_is_too() =>
        Assert.Equal(Convert.FromBase64String("7b7d7b7d"), Envelope("7b7d7b7d").UntrustedPayload.ToArray());

    [Theory]
    [InlineData("""{"payload":"x"}""", true)]
    [InlineData("""{"a":{"payload":1},"payload":null}""", true)]
    [InlineData("""{"a":{"payload":1}}""", false)]
    [InlineData("""["payload"]""", false)]
    [InlineData("""{"a":1""", false)]
    [InlineData("", false)]
    public void An_envelope_is_told_from_a_policy(string json, bool envelope) => Assert.Equal(envelope, DsseEnvelope.IsEnvelope(Encoding.UTF8.GetBytes(json)));

    [Fact]
    public void Any_bytes_give_an_envelope_or_a_reason()
    {
        var signed = DsseEnvelope.Sign("t", "payload"u8, Signer(FileKeys.P256));
        Gen.Int[0, signed.Length - 1].Select(Gen.Byte).Sample((at, b) =>
        {
            byte[] changed = [.. signed];
            changed[at] = b;
            _ = DsseEnvelope.IsEnvelope(changed);
            if (!DsseEnvelope.TryParse(changed, out _, out var error))
                Assert.NotEmpty(error);
        });
    }

    [Fact]
    public async Task Openssl_verifies_what_we_sign_and_we_what_it_signs()
    {
        var folder = Directory.CreateTempSubdirectory("keylime-dsse-").FullName;
        try
        {
            await FileKeys.RunAsync(folder, "openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem");
            await FileKeys.RunAsync(folder, "openssl", "ec", "-in", "key.pem", "-pubout", "-out", "public.pem");
            Assert.True(DsseSigner.TryCreate(await File.ReadAllTextAsync(Path.Combine(folder, "key.pem"), TestContext.Current.CancellationToken), "", out var signer, out var error), error);
            using (signer)
            {
                var envelope = Parse(DsseEnvelope.Sign("t", "policy"u8, signer));
                await File.WriteAllBytesAsync(Path.Combine(folder, "sig"), envelope.Signatures[0].Value.ToArray(), TestContext.Current.CancellationToken);
                await File.WriteAllTextAsync(Path.Combine(folder, "pae"), "DSSEv1 1 t 6 policy", TestContext.Current.CancellationToken);
                Assert.Contains("Verified OK", await FileKeys.RunAsync(folder, "openssl", "dgst", "-sha256", "-verify", "public.pem", "-signature", "sig", "pae"));
            }

            await FileKeys.RunAsync(folder, "openssl", "dgst", "-sha256", "-sign", "key.pem", "-out", "sig", "pae");
            var theirs = new DsseEnvelope("t", "policy"u8.ToArray(), [new DsseSignature("", await File.ReadAllBytesAsync(Path.Combine(folder, "sig"), TestContext.Current.CancellationToken))]);
            Assert.True(SigningTrust.None.TryAdd("openssl", await File.ReadAllBytesAsync(Path.Combine(folder, "public.pem"), TestContext.Current.CancellationToken), out var trust, out error), error);
            Assert.IsType<DsseResult.Verified>(theirs.Verify(trust, Now));
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    private static DsseEnvelope Envelope(string payload) => Parse(Encoding.UTF8.GetBytes($$"""{"payload":"{{payload}}","payloadType":"t","signatures":[{"keyid":null,"sig":"eA=="}]}"""));

    private static DsseEnvelope Parse(byte[] json)
    {
        Assert.True(DsseEnvelope.TryParse(json, out var envelope, out var error), error);
        return envelope;
    }

    private static AsymmetricAlgorithm Key(string name) => name switch { "rsa" => FileKeys.Rsa, "p256" => FileKeys.P256, "p384" => FileKeys.P384, _ => FileKeys.P521 };

    private DsseSigner Signer(AsymmetricAlgorithm key, string certificate = "")
    {
        Assert.True(DsseSigner.TryCreate(key.ExportPkcs8PrivateKeyPem(), certificate, out var signer, out var error), error);
        _made.Add(signer);
        return signer;
    }

    private byte[] Sign(AsymmetricAlgorithm key, X509Certificate2 certificate) => DsseEnvelope.Sign("t", "p"u8, Signer(key, certificate.ExportCertificatePem()));

    private (ECDsa Key, X509Certificate2 Certificate) Issue(X509Certificate2 root, Action<CertificateRequest>? with = null, ECDsa? key = null)
    {
        key ??= ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var certificate = FileKeys.Certify(key, null, with, root);
        _made.AddRange([key, certificate]);
        return (key, certificate);
    }

    private static X509Certificate2 Authority(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(name, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        return request.CreateSelfSigned(new DateTimeOffset(2025, 1, 1, 0, 0, 0, TimeSpan.Zero), new DateTimeOffset(2035, 1, 1, 0, 0, 0, TimeSpan.Zero));
    }

    private static SigningTrust Trust(params (string Name, AsymmetricAlgorithm Key)[] keys)
    {
        var trust = SigningTrust.None;
        foreach (var (name, key) in keys)
        {
            Assert.True(trust.TryAdd(name, Encoding.ASCII.GetBytes(key.ExportSubjectPublicKeyInfoPem()), out var with, out var error), error);
            trust = with;
        }

        return trust;
    }

    private static SigningTrust TrustRoot(X509Certificate2 root)
    {
        Assert.True(SigningTrust.None.TryAddRoot(X509CertificateLoader.LoadCertificate(root.RawData), out var trust, out var error), error);
        return trust;
    }
}
