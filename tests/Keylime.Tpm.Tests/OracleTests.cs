using System.Security.Cryptography;
using Keylime.Testing;

namespace Keylime.Tpm.Tests;

/// <summary>The same TPM seen by us and by tpm2-tools: what the two say must be the same.</summary>
public sealed class OracleTests : IAsyncLifetime
{
    private Swtpm _swtpm = null!;
    private TpmClient _tpm = null!;

    public static TheoryData<string> Keys => ["rsa", "ecc"];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _swtpm = await Swtpm.StartAsync(new SwtpmOptions { PcrBanks = "sha1,sha256,sha384,sha512" }, Cancel);
        _tpm = _swtpm.OpenClient();
    }

    public async ValueTask DisposeAsync()
    {
        await _tpm.DisposeAsync();
        await _swtpm.DisposeAsync();
    }

    private static PublicArea Ek(string key) => key == "rsa" ? KeyTemplates.EkRsa2048 : KeyTemplates.EkEccP256;

    private static PublicArea Ak(string key) => key == "rsa" ? KeyTemplates.AkRsa2048() : KeyTemplates.AkEccP256();

    private async Task<(LoadedKey Ek, LoadedKey Ak)> MakeKeysAsync(PublicArea ekTemplate, PublicArea akTemplate)
    {
        var ek = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, ekTemplate, Cancel);
        var (area, secret) = await _tpm.CreateUnderEndorsementKeyAsync(ek, akTemplate, Cancel);
        return (ek, await _tpm.LoadUnderEndorsementKeyAsync(ek, area, secret, Cancel));
    }

    private string PathOf(string file) => Path.Combine(_swtpm.Folder, file);

    private Task<byte[]> ReadAsync(string file) => File.ReadAllBytesAsync(PathOf(file), Cancel);

    private Task WriteAsync(string file, ReadOnlyMemory<byte> bytes) => File.WriteAllBytesAsync(PathOf(file), bytes, Cancel);

    [Theory]
    [MemberData(nameof(Keys))]
    public async Task Their_keys_are_ours(string key)
    {
        // tpm2_createek makes the profile's key from its own template: only the same template, to the bit, makes the same key
        await _swtpm.RunToolAsync("tpm2_createek", "-c", "ek.ctx", "-G", key, "-u", "ek.pub");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "-t");
        await _swtpm.RunToolAsync("tpm2_createak", "-C", "ek.ctx", "-c", "ak.ctx", "-G", key, "-g", "sha256", "-s", key == "rsa" ? "rsassa" : "ecdsa", "-u", "ak.pub", "-n", "ak.name");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "-t");

        var ours = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, Ek(key), Cancel);
        Assert.Equal(await ReadAsync("ek.pub"), ours.Public.EncodeSized());
        Assert.Equal(ours.Public.ComputeName(), ours.Name.ToArray());

        var theirs = PublicArea.Parse(await ReadAsync("ak.pub"));
        Assert.Equal(await ReadAsync("ak.pub"), theirs.EncodeSized());
        Assert.Equal(await ReadAsync("ak.name"), theirs.ComputeName());
    }

    [Theory]
    [MemberData(nameof(Keys))]
    public async Task Our_keys_are_theirs(string key)
    {
        var (ek, ak) = await MakeKeysAsync(Ek(key), Ak(key));
        foreach (var ours in new[] { ek, ak })
        {
            await _swtpm.RunToolAsync("tpm2_readpublic", "-c", $"0x{ours.Handle:x8}", "-o", "key.pub", "-n", "key.name");
            Assert.Equal(ours.Public.EncodeSized(), await ReadAsync("key.pub"));
            Assert.Equal(ours.Name.ToArray(), await ReadAsync("key.name"));
            Assert.Equal(ours.Name.ToArray(), ours.Public.ComputeName());
            var read = await _tpm.ReadPublicAsync(ours.Handle, Cancel);
            Assert.Equal(ours.Public.Encode(), read.Public.Encode());
        }
    }

    public static TheoryData<string, TpmAlgorithm, TpmAlgorithm> Schemes => new()
    {
        { "rsa", TpmAlgorithm.RsaSsa, TpmAlgorithm.Sha256 },
        { "rsa", TpmAlgorithm.RsaSsa, TpmAlgorithm.Sha384 },
        { "rsa", TpmAlgorithm.RsaPss, TpmAlgorithm.Sha256 },
        { "ecc", TpmAlgorithm.Ecdsa, TpmAlgorithm.Sha256 },
        { "ecc", TpmAlgorithm.Ecdsa, TpmAlgorithm.Sha384 },
    };

    [Theory]
    [MemberData(nameof(Schemes))]
    public async Task Our_quote_passes_their_check(string key, TpmAlgorithm scheme, TpmAlgorithm hash)
    {
        await _tpm.PcrExtendAsync(10, [(TpmAlgorithm.Sha256, SHA256.HashData("measured"u8))], Cancel);
        var template = key == "rsa" ? KeyTemplates.AkRsa2048(scheme, hash) : KeyTemplates.AkEccP256(hash);
        var (_, ak) = await MakeKeysAsync(Ek(key), template);
        var challenge = RandomNumberGenerator.GetBytes(32);
        var selection = new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 23));
        var (quote, pcrs) = await _tpm.QuoteWithPcrsAsync(ak.Handle, challenge, selection, Cancel);

        await WriteAsync("quote.msg", quote.Message);
        await WriteAsync("quote.sig", quote.Signature);
        await WriteAsync("quote.pcrs", pcrs.Encode());
        await WriteAsync("ak.pub", ak.Public.EncodeSized());
        if (scheme == TpmAlgorithm.RsaPss)
        {
            // tpm2_checkquote knows no PSS; the TPM itself does, and says so of the same bytes
            await _swtpm.RunToolAsync("tpm2_verifysignature", "-c", $"0x{ak.Handle:x8}", "-g", hash.ProtocolName()!, "-m", "quote.msg", "-s", "quote.sig");
            return;
        }

        string[] check = ["-u", "ak.pub", "-m", "quote.msg", "-s", "quote.sig", "-f", "quote.pcrs", "-g", hash.ProtocolName()!, "-q"];
        await _swtpm.RunToolAsync("tpm2_checkquote", [.. check, Convert.ToHexStringLower(challenge)]);

        challenge[0] ^= 1;
        await Assert.ThrowsAsync<InvalidOperationException>(
            () => _swtpm.RunToolAsync("tpm2_checkquote", [.. check, Convert.ToHexStringLower(challenge)]));
    }

    [Theory]
    [MemberData(nameof(Keys))]
    public async Task Their_quote_is_read_by_us(string key)
    {
        await _swtpm.RunToolAsync("tpm2_createek", "-c", "ek.ctx", "-G", key);
        await _swtpm.RunToolAsync("tpm2_flushcontext", "-t");
        await _swtpm.RunToolAsync("tpm2_createak", "-C", "ek.ctx", "-c", "ak.ctx", "-G", key, "-g", "sha256", "-s", key == "rsa" ? "rsassa" : "ecdsa");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "-t");
        await _swtpm.RunToolAsync("tpm2_pcrextend", $"7:sha256={new string('a', 64)}");
        await _swtpm.RunToolAsync(
            "tpm2_quote", "-c", "ak.ctx", "-l", "sha256:0,1,2,3,4,5,6,7,10,16", "-q", "00112233445566778899aabbccddeeff", "-m", "msg", "-s", "sig", "-o", "pcrs");

        var quote = QuoteStatement.Parse(await ReadAsync("msg"));
        var signature = TpmSignature.Parse(await ReadAsync("sig"));
        var pcrs = PcrBlob.Parse(await ReadAsync("pcrs"));
        Assert.Equal("00112233445566778899AABBCCDDEEFF", Convert.ToHexString(quote.QualifyingData.Span));
        Assert.Equal([pcrs.Selection], quote.Selections);
        Assert.Equal(quote.PcrDigest.ToArray(), pcrs.ComputeDigest(signature.Hash));
        Assert.Equal(await ReadAsync("sig"), signature.Encode());
        Assert.Equal(await ReadAsync("pcrs"), pcrs.Encode());
    }

    [Theory]
    [InlineData("sha1", TpmAlgorithm.Sha1)]
    [InlineData("sha256", TpmAlgorithm.Sha256)]
    [InlineData("sha384", TpmAlgorithm.Sha384)]
    [InlineData("sha512", TpmAlgorithm.Sha512)]
    public async Task PCR_values_agree(string name, TpmAlgorithm bank)
    {
        foreach (var pcr in new[] { 0, 8, 16, 23 })
        {
            var digest = RandomNumberGenerator.GetBytes(bank.DigestSize());
            if (pcr == 8)
                await _swtpm.RunToolAsync("tpm2_pcrextend", $"{pcr}:{name}={Convert.ToHexStringLower(digest)}");
            else
                await _tpm.PcrExtendAsync(pcr, [(bank, digest)], Cancel);
        }

        var ours = await _tpm.PcrReadAsync(new PcrSelection(bank, new PcrSet(0xFFFFFF)), Cancel);
        await _swtpm.RunToolAsync("tpm2_pcrread", $"{name}:all", "-o", "all.pcrs");
        Assert.Equal(await ReadAsync("all.pcrs"), ours.Values.SelectMany(value => value.ToArray()));
    }

    [Theory]
    [InlineData("rsa", KeyTemplates.RsaCertificateIndex)]
    [InlineData("ecc", KeyTemplates.EccCertificateIndex)]
    public async Task Endorsement_certificates_agree(string key, uint index)
    {
        await DisposeAsync();
        _swtpm = await Swtpm.StartAsync(new SwtpmOptions { EkCertificate = true, EccEkCertificate = true }, Cancel);
        _tpm = _swtpm.OpenClient();
        await _swtpm.RunToolAsync("tpm2_nvread", $"0x{index:x8}", "-o", "whole.bin");
        var whole = await ReadAsync("whole.bin");
        var info = await _tpm.NvReadPublicAsync(index, Cancel);
        Assert.Equal(whole, await _tpm.NvReadAsync(info, Cancel));

        var certificate = (await _tpm.ReadCertificatesAsync(index, Cancel)).Single().ToArray();
        Assert.Equal(whole[..certificate.Length], certificate);
        Assert.All(whole[certificate.Length..], padding => Assert.True(padding is 0 or 0xFF));

        using var parsed = System.Security.Cryptography.X509Certificates.X509CertificateLoader.LoadCertificate(certificate);
        var ek = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, Ek(key), Cancel);
        Assert.Equal(parsed.PublicKey.ExportSubjectPublicKeyInfo(), SubjectPublicKeyInfoOf(ek.Public));
    }

    [Fact]
    public async Task The_chain_above_an_endorsement_certificate_is_read_from_all_its_indices()
    {
        var root = TestCertificates.Root;
        using var upper = TestCertificates.MakeIntermediate("CN=Upper, O=Maker");
        using var lower = TestCertificates.MakeIntermediate("CN=Lower, O=Maker", upper);
        byte[] chain = [.. lower.RawData, .. upper.RawData];
        var half = lower.RawData.Length - 40; // the first certificate goes on in the second index
        foreach (var (index, data) in ((uint, byte[])[])[(0x01C00100, chain[..half]), (0x01C00101, [.. chain[half..], .. Enumerable.Repeat((byte)0xFF, 60)]), (0x01C00102, root.RawData)])
        {
            await WriteAsync("part", data);
            await _swtpm.RunToolAsync("tpm2_nvdefine", $"0x{index:x8}", "-C", "o", "-s", $"{data.Length}", "-a", "ownerread|ownerwrite|authread|ppread|no_da");
            await _swtpm.RunToolAsync("tpm2_nvwrite", $"0x{index:x8}", "-C", "o", "-i", "part");
        }

        await _swtpm.RunToolAsync("tpm2_nvdefine", "0x01c00103", "-C", "o", "-s", "64", "-a", "ownerread|ownerwrite|authread"); // never written
        var read = await _tpm.ReadEndorsementChainAsync(Cancel);
        Assert.Equal([lower.RawData, upper.RawData, root.RawData], read.Select(static c => c.ToArray()));
    }

    private static byte[] SubjectPublicKeyInfoOf(PublicArea area)
    {
        using AsymmetricAlgorithm key = area is PublicArea.Rsa rsa ? rsa.CreateKey() : ECDsa.Create(((PublicArea.Ecc)area).ToParameters());
        return key.ExportSubjectPublicKeyInfo();
    }

    [Theory]
    [MemberData(nameof(Keys))]
    public async Task Their_credential_opens_with_our_activation(string key)
    {
        var (ek, ak) = await MakeKeysAsync(Ek(key), Ak(key));
        await WriteAsync("ek.pub", ek.Public.EncodeSized());
        var secret = RandomNumberGenerator.GetBytes(32);
        await WriteAsync("secret", secret);
        await _swtpm.RunToolAsync(
            "tpm2_makecredential", "-T", "none", "-u", "ek.pub", "-s", "secret", "-n", Convert.ToHexStringLower(ak.Name.Span), "-o", "blob");

        var blob = CredentialBlob.Parse(await ReadAsync("blob"));
        Assert.Equal(await ReadAsync("blob"), blob.Encode());
        Assert.Equal(secret, await _tpm.ActivateCredentialAsync(ak, ek, blob, Cancel));

        // made for another key: the TPM says so, and the session that was started for it does not stay behind
        var (area, other) = await _tpm.CreateUnderEndorsementKeyAsync(ek, Ak(key), Cancel);
        var stranger = await _tpm.LoadUnderEndorsementKeyAsync(ek, area, other, Cancel);
        var refused = await Assert.ThrowsAsync<TpmRefusedException>(async () => await _tpm.ActivateCredentialAsync(stranger, ek, blob, Cancel));
        Assert.Equal(TpmError.Integrity, refused.Code.Error);
        Assert.Empty(await _tpm.GetHandlesAsync(0x02000000, Cancel));
    }

    [Fact]
    public async Task Capabilities_agree()
    {
        var banks = await _tpm.GetPcrBanksAsync(Cancel);
        var theirs = await _swtpm.RunToolAsync("tpm2_getcap", "pcrs");
        Assert.All(banks, bank => Assert.Contains($"- {bank.Bank.ProtocolName()}: [ 0,", theirs, StringComparison.Ordinal));

        var indices = await _tpm.GetNvIndicesAsync(Cancel);
        Assert.Equal(
            (await _swtpm.RunToolAsync("tpm2_getcap", "handles-nv-index")).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.TrimStart('-', ' ').ToUpperInvariant()),
            indices.Select(index => $"0X{index:X}"));
    }

    [Theory]
    [InlineData(0x2D2, "TPM_RC_SCHEME", "parameter(2)")]
    [InlineData(0x98E, "TPM_RC_AUTH_FAIL", "session(1)")]
    [InlineData(0x18B, "TPM_RC_HANDLE", "handle(1)")]
    [InlineData(0x922, "TPM_RC_RETRY", "warn")]
    public async Task Response_codes_agree(uint code, string ours, string theirs)
    {
        Assert.StartsWith(ours, new TpmResponseCode(code).Describe(), StringComparison.Ordinal);
        Assert.Contains(theirs, await _swtpm.RunToolAsync("tpm2_rc_decode", $"0x{code:x}"), StringComparison.Ordinal);
    }
}
