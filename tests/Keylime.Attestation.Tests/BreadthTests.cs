using System.Security.Cryptography;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>Every kind of key, hash, bank and command that machines in the field have, on a real software TPM, with tpm2-tools as the judge.</summary>
public sealed class BreadthTests : IAsyncLifetime
{
    private Swtpm _swtpm = null!; // InitializeAsync
    private TpmClient _tpm = null!;

    public static TheoryData<string> EndorsementKeyNames => [.. KeyTemplates.EndorsementKeys.Select(p => p.Name)];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _swtpm = await Swtpm.StartAsync(new SwtpmOptions { PcrBanks = "sha256,sha384,sha512", EkCertificate = true }, Cancel);
        _tpm = _swtpm.OpenClient();
    }

    public async ValueTask DisposeAsync()
    {
        await _tpm.DisposeAsync();
        await _swtpm.DisposeAsync();
    }

    [Theory]
    [MemberData(nameof(EndorsementKeyNames))]
    public async Task An_endorsement_key_of_every_template_wraps_opens_and_salts(string name)
    {
        var profile = KeyTemplates.EndorsementKeys.Single(p => p.Name == name);
        if (!await HasAsync(profile.Template))
        {
            // What this TPM does not have it refuses, in so many words.
            var refused = await Assert.ThrowsAsync<TpmRefusedException>(async () => await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, profile.Template, Cancel));
            Assert.True(refused.Code.Error is TpmError.Value or TpmError.Curve or TpmError.KeySize, refused.Message);
            return;
        }

        var ek = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, profile.Template, Cancel);
        await _swtpm.RunToolAsync("tpm2_readpublic", "-c", $"0x{ek.Handle:x8}", "-o", "ek.pub", "-n", "ek.name");
        Assert.Equal(ek.Public.EncodeSized(), await ReadAsync("ek.pub"));
        Assert.Equal(ek.Name.ToArray(), await ReadAsync("ek.name"));
        Assert.Null(EndorsementKeys.Objection(ek.Public));

        // The certificate that the factory gave is for this very key: the same template, to the bit, makes the same key.
        foreach (var certificate in await _tpm.ReadCertificatesAsync(profile.CertificateIndex, Cancel))
        {
            using var parsed = System.Security.Cryptography.X509Certificates.X509CertificateLoader.LoadCertificate(certificate.Span);
            Assert.Equal(EndorsementKeys.Spki(ek.Public), parsed.PublicKey.ExportSubjectPublicKeyInfo());
        }

        var (area, secret) = await _tpm.CreateUnderEndorsementKeyAsync(ek, KeyTemplates.AkEccP256(), Cancel);
        var ak = await _tpm.LoadUnderEndorsementKeyAsync(ek, area, secret, Cancel);
        var password = RandomNumberGenerator.GetBytes(32);
        Assert.Equal(password, await _tpm.ActivateCredentialAsync(ak, ek, Credential.Make(ek.Public, ak.Name.Span, password), Cancel));

        // and the credential of this TPM, and of the tools, opens as ours does
        Assert.Equal(password, await _tpm.ActivateCredentialAsync(ak, ek, await _tpm.MakeCredentialAsync(ek, password, ak.Name, ek, Cancel), Cancel));
        await File.WriteAllBytesAsync(PathOf("secret"), password, Cancel);
        await _swtpm.RunToolAsync("tpm2_makecredential", "-T", "none", "-u", "ek.pub", "-s", "secret", "-n", Convert.ToHexStringLower(ak.Name.Span), "-o", "blob");
        Assert.Equal(password, await _tpm.ActivateCredentialAsync(ak, ek, CredentialBlob.Parse(await ReadAsync("blob")), Cancel));
        Assert.Empty(await _tpm.GetHandlesAsync(0x02000000, Cancel)); // no session stays behind
    }

    [Fact]
    public async Task The_factorys_certificates_are_for_the_keys_of_the_profile()
    {
        // swtpm_setup certifies an RSA key of the low range and a P-384 key of the high one
        var certified = new List<string>();
        foreach (var profile in KeyTemplates.EndorsementKeys)
        {
            if (await _tpm.ReadCertificatesAsync(profile.CertificateIndex, Cancel) is [var der])
            {
                var ek = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, profile.Template, Cancel);
                await _tpm.FlushContextAsync(ek.Handle, Cancel);
                using var root = System.Security.Cryptography.X509Certificates.X509Certificate2.CreateFromPem(_swtpm.CaCertificatePem!);
                var result = EndorsementKeys.Check(ek.Public, Convert.ToBase64String(der.Span), [root], TimeProvider.System.GetUtcNow());
                Assert.Equal("swtpm", Assert.IsType<EndorsementResult.Chained>(result).Maker.Model);
                certified.Add(profile.Name);
            }
        }

        Assert.Equal(["L-1", "H-3"], certified);
    }

    public static TheoryData<string, TpmAlgorithm, TpmAlgorithm, TpmAlgorithm> Quotes
    {
        get
        {
            var quotes = new TheoryData<string, TpmAlgorithm, TpmAlgorithm, TpmAlgorithm>();
            TpmAlgorithm[] hashes = [TpmAlgorithm.Sha256, TpmAlgorithm.Sha384, TpmAlgorithm.Sha512];
            foreach (var (key, schemes) in ((string, TpmAlgorithm[])[])
            [
                ("rsa2048", [TpmAlgorithm.RsaSsa, TpmAlgorithm.RsaPss]), ("rsa3072", [TpmAlgorithm.RsaSsa, TpmAlgorithm.RsaPss]),
                ("p256", [TpmAlgorithm.Ecdsa]), ("p384", [TpmAlgorithm.Ecdsa]), ("p521", [TpmAlgorithm.Ecdsa]),
            ])
            {
                foreach (var scheme in schemes)
                {
                    foreach (var (hash, bank) in hashes.Zip(hashes.Skip(1).Append(hashes[0])))
                        quotes.Add(key, scheme, hash, bank);
                }
            }

            return quotes;
        }
    }

    [Theory]
    [MemberData(nameof(Quotes))]
    public async Task A_quote_of_every_key_hash_and_bank_passes_both_checks(string key, TpmAlgorithm scheme, TpmAlgorithm hash, TpmAlgorithm bank)
    {
        var template = key switch
        {
            "rsa2048" => KeyTemplates.AkRsa(2048, scheme, hash),
            "rsa3072" => KeyTemplates.AkRsa(3072, scheme, hash),
            "p256" => KeyTemplates.AkEcc(TpmCurve.NistP256, hash),
            "p384" => KeyTemplates.AkEcc(TpmCurve.NistP384, hash),
            _ => KeyTemplates.AkEcc(TpmCurve.NistP521, hash),
        };
        if (!await HasAsync(template))
        {
            Assert.Equal("p521", key); // the one that not every TPM has
            return;
        }

        await _tpm.PcrExtendAsync(10, [(bank, RandomNumberGenerator.GetBytes(bank.DigestSize()))], Cancel);
        var ek = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, KeyTemplates.EkEccP256, Cancel);
        var (area, secret) = await _tpm.CreateUnderEndorsementKeyAsync(ek, template, Cancel);
        var ak = await _tpm.LoadUnderEndorsementKeyAsync(ek, area, secret, Cancel);
        var selection = new PcrSelection(bank, PcrSet.Of(0, 7, 10, 16, 23));
        var nonce = RandomNumberGenerator.GetBytes(32);
        var (quote, pcrs) = await _tpm.QuoteWithPcrsAsync(ak.Handle, nonce, selection, Cancel);

        Assert.True(AttestationKey.TryCreate(ak.Public, out var ours, out var refusal), refusal?.Detail);
        using (ours)
        {
            var evidence = new QuoteEvidence(quote.Message, quote.Signature, pcrs.Encode());
            Assert.IsType<QuoteResult.Verified>(Quote.Verify(ours, new QuoteRequest(nonce, selection, ours.Scheme), evidence));
            var forged = quote.Signature.ToArray();
            forged[^1] ^= 1;
            Assert.IsType<QuoteResult.Rejected>(Quote.Verify(ours, new QuoteRequest(nonce, selection, ours.Scheme), evidence with { Signature = forged }));
        }

        await File.WriteAllBytesAsync(PathOf("msg"), quote.Message.ToArray(), Cancel);
        await File.WriteAllBytesAsync(PathOf("sig"), quote.Signature.ToArray(), Cancel);
        await File.WriteAllBytesAsync(PathOf("pcrs"), pcrs.Encode(), Cancel);
        await File.WriteAllBytesAsync(PathOf("ak.pub"), ak.Public.EncodeSized(), Cancel);
        if (scheme == TpmAlgorithm.RsaPss)
            await _swtpm.RunToolAsync("tpm2_verifysignature", "-c", $"0x{ak.Handle:x8}", "-g", hash.ProtocolName()!, "-m", "msg", "-s", "sig");
        else
            await _swtpm.RunToolAsync("tpm2_checkquote", "-u", "ak.pub", "-m", "msg", "-s", "sig", "-f", "pcrs", "-g", hash.ProtocolName()!, "-q", Convert.ToHexStringLower(nonce));
    }

    [Theory]
    [InlineData("H-1")]
    [InlineData("H-2")]
    [InlineData("H-3")]
    [InlineData("H-4")]
    public async Task Device_identity_keys_certify_the_attestation_key(string template)
    {
        var iakTemplate = KeyTemplates.Iak(template);
        if (!await HasAsync(iakTemplate))
        {
            Assert.Equal("H-4", template);
            return;
        }

        var iak = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, iakTemplate, Cancel);
        await _swtpm.RunToolAsync("tpm2_readpublic", "-c", $"0x{iak.Handle:x8}", "-o", "iak.pub", "-n", "iak.name");
        Assert.Equal(iak.Public.EncodeSized(), await ReadAsync("iak.pub"));
        var idevid = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, KeyTemplates.IDevId(template), Cancel);
        await _tpm.FlushContextAsync(idevid.Handle, Cancel); // a TPM has room for three

        var ek = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, KeyTemplates.EkEccP256, Cancel);
        var (area, secret) = await _tpm.CreateUnderEndorsementKeyAsync(ek, KeyTemplates.AkEccP256(), Cancel);
        var ak = await _tpm.LoadUnderEndorsementKeyAsync(ek, area, secret, Cancel);
        var statement = await _tpm.CertifyAsync(ak.Handle, iak.Handle, SHA256.HashData("a-node"u8), Cancel);
        var claim = new DeviceIdentityClaim(
            iak.Public.EncodeSized(), TestCertificates.IssueDevice(iak.Public).ExportCertificatePem(),
            idevid.Public.EncodeSized(), TestCertificates.IssueDevice(idevid.Public).ExportCertificatePem(), statement.Message, statement.Signature);
        var now = TimeProvider.System.GetUtcNow();
        Assert.Null(DeviceIdentity.Check(claim, ak.Name.Span, "a-node", [TestCertificates.Root], now, out var root));
        Assert.Equal(TestCertificates.Root.Subject, root);
        Assert.Equal(FindingCodes.DeviceIdentityUnproven, DeviceIdentity.Check(claim, ak.Name.Span, "another", [TestCertificates.Root], now, out _)?.Code);
        Assert.Equal(FindingCodes.DeviceIdentityUnproven, DeviceIdentity.Check(claim, iak.Name.Span, "a-node", [TestCertificates.Root], now, out _)?.Code);
        Assert.Equal(FindingCodes.DeviceIdentityUntrusted, DeviceIdentity.Check(claim, ak.Name.Span, "a-node", [TestCertificates.OtherRoot], now, out _)?.Code);
    }

    [Theory]
    [InlineData("L-1")]
    [InlineData("L-2")]
    [InlineData("H-3")]
    [InlineData("H-6")]
    public async Task What_is_sealed_from_afar_opens_in_this_TPM_with_these_PCRs_only(string name)
    {
        var ek = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, KeyTemplates.EndorsementKeys.Single(p => p.Name == name).Template, Cancel);
        var selection = new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(16, 23));
        var policy = await _tpm.ComputePcrPolicyAsync(selection, ReadOnlyMemory<byte>.Empty, ek.Public.NameAlgorithm, Cancel);

        // tpm2-tools makes the same policy
        await _swtpm.RunToolAsync("tpm2_createpolicy", "--policy-pcr", "-l", "sha256:16,23", "-g", ek.Public.NameAlgorithm.ProtocolName()!, "-L", "policy");
        Assert.Equal(await ReadAsync("policy"), policy);
        await _swtpm.RunToolAsync("tpm2_flushcontext", "-l"); // the tool leaves its session

        var data = RandomNumberGenerator.GetBytes(RemoteSeal.MaxData);
        var wrapped = RemoteSeal.Wrap(ek.Public, policy, data);
        var @private = await _tpm.ImportAsync(ek, wrapped.Public, wrapped.Duplicate, wrapped.Seed, Cancel);
        var seal = await _tpm.LoadSealAsync(ek, wrapped.Public, @private, Cancel);
        Assert.Equal(wrapped.Public.ComputeName(), seal.Name.ToArray());
        Assert.Equal(data, await _tpm.UnsealAsync(seal, ek, selection, Cancel));

        // another value in a PCR: it stays shut; reset to what it was: it opens
        await _tpm.PcrExtendAsync(16, [(TpmAlgorithm.Sha256, new byte[32])], Cancel);
        var refused = await Assert.ThrowsAsync<TpmRefusedException>(async () => await _tpm.UnsealAsync(seal, ek, selection, Cancel));
        Assert.Equal(TpmError.PolicyFail, refused.Code.Error);
        await _tpm.PcrResetAsync(16, Cancel);
        Assert.Equal(data, await _tpm.UnsealAsync(seal, ek, selection, Cancel));
        await _tpm.FlushContextAsync(seal.Handle, Cancel);

        // one bit anywhere, and the TPM does not take it
        foreach (var altered in (WrappedSecret[])[wrapped with { Duplicate = Flip(wrapped.Duplicate) }, wrapped with { Seed = Flip(wrapped.Seed) }])
            await Assert.ThrowsAsync<TpmRefusedException>(async () => await _tpm.ImportAsync(ek, altered.Public, altered.Duplicate, altered.Seed, Cancel));
        Assert.Empty(await _tpm.GetHandlesAsync(0x02000000, Cancel));
    }

    [Fact]
    public async Task What_is_sealed_here_opens_here_and_with_the_tools()
    {
        var ek = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, KeyTemplates.EkRsa2048, Cancel);
        var selection = new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(7));
        var policy = await _tpm.ComputePcrPolicyAsync(selection, ReadOnlyMemory<byte>.Empty, TpmAlgorithm.Sha256, Cancel);
        var data = RandomNumberGenerator.GetBytes(32);
        var (@private, area) = await _tpm.SealAsync(ek, new SealedArea { AuthPolicy = policy }, data, Cancel);
        Assert.Equal(area.Encode(), SealedArea.Parse(area.Encode()).Encode());
        var seal = await _tpm.LoadSealAsync(ek, area, @private, Cancel);
        Assert.Equal(data, await _tpm.UnsealAsync(seal, ek, selection, Cancel));
        await _swtpm.RunToolAsync("tpm2_unseal", "-c", $"0x{seal.Handle:x8}", "-p", "pcr:sha256:7", "-o", "plain");
        Assert.Equal(data, await ReadAsync("plain"));
    }

    private async Task<bool> HasAsync(PublicArea template) => template switch
    {
        PublicArea.Ecc ecc => (await _tpm.GetCurvesAsync(Cancel)).Contains(ecc.Curve),
        PublicArea.Rsa { KeyBits: <= 3072 } => true,
        _ => false, // RSA-4096 takes minutes to make where it is there at all; swtpm does not have it
    };

    private static byte[] Flip(ReadOnlyMemory<byte> bytes)
    {
        var flipped = bytes.ToArray();
        flipped[flipped.Length / 2] ^= 1;
        return flipped;
    }

    private string PathOf(string file) => Path.Combine(_swtpm.Folder, file);

    private Task<byte[]> ReadAsync(string file) => File.ReadAllBytesAsync(PathOf(file), Cancel);
}
