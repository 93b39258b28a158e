using System.Security.Cryptography;
using Keylime.Testing;

namespace Keylime.Tpm.Tests;

/// <summary>What one of us does in a TPM, the other finds there: commands that machines need beside quoting, with tpm2-tools as the other.</summary>
public sealed class CommandOracleTests : IAsyncLifetime
{
    private Swtpm _swtpm = null!; // InitializeAsync
    private TpmClient _tpm = null!;

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

    [Theory]
    [InlineData("sha256", "")]
    [InlineData("sha256", "a label")]
    [InlineData("sha384", "a label")]
    public async Task What_they_encrypt_we_decrypt(string hash, string label)
    {
        await _swtpm.RunToolAsync("tpm2_createprimary", "-C", "o", "-g", "sha256", "-G", $"rsa2048:oaep-{hash}:null", "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|decrypt", "-c", "rsa.ctx");
        await _swtpm.RunToolAsync("tpm2_evictcontrol", "-C", "o", "-c", "rsa.ctx", "0x81010001");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "-t");
        var plain = RandomNumberGenerator.GetBytes(40);
        await WriteAsync("plain", plain);
        await _swtpm.RunToolAsync("tpm2_rsaencrypt", ["-c", "0x81010001", "-s", "null", "-o", "cipher", .. label.Length > 0 ? ["-l", label] : Array.Empty<string>(), "plain"]);

        var key = await _tpm.ReadPublicAsync(0x81010001, Cancel);
        var ek = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, KeyTemplates.EkEccP256, Cancel);
        TpmAlgorithms.TryFromProtocolName(hash, out var algorithm);
        byte[] said = label.Length > 0 ? [.. System.Text.Encoding.ASCII.GetBytes(label), 0] : [];
        Assert.Equal(plain, await _tpm.RsaDecryptAsync(key, await ReadAsync("cipher"), algorithm, said, ek, Cancel));
        await Assert.ThrowsAsync<TpmRefusedException>(async () => await _tpm.RsaDecryptAsync(key, await ReadAsync("cipher"), algorithm, "another\0"u8.ToArray(), ek, Cancel));
        await NothingIsLeftAsync();
    }

    [Fact]
    public async Task A_key_that_one_makes_persistent_the_other_uses_and_evicts()
    {
        var ours = await _tpm.CreatePrimaryAsync(TpmClient.Owner, KeyTemplates.AkEccP256(), Cancel);
        await _tpm.PersistAsync(ours.Handle, 0x81010002, Cancel);
        await _tpm.FlushContextAsync(ours.Handle, Cancel);
        await _swtpm.ResetAsync(); // a reboot
        await _swtpm.RunToolAsync("tpm2_readpublic", "-c", "0x81010002", "-n", "name");
        Assert.Equal(ours.Name.ToArray(), await ReadAsync("name"));
        await _swtpm.RunToolAsync("tpm2_evictcontrol", "-C", "o", "-c", "0x81010002");
        var gone = await Assert.ThrowsAsync<TpmRefusedException>(async () => await _tpm.ReadPublicAsync(0x81010002, Cancel));
        Assert.True(gone.Code.IsHandle);

        await _swtpm.RunToolAsync("tpm2_createprimary", "-C", "o", "-G", "ecc", "-c", "their.ctx");
        await _swtpm.RunToolAsync("tpm2_evictcontrol", "-C", "o", "-c", "their.ctx", "0x81010003");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "-t");
        await _tpm.EvictAsync(0x81010003, Cancel);
        Assert.Empty((await _swtpm.RunToolAsync("tpm2_getcap", "handles-persistent")).Trim());
    }

    [Fact]
    public async Task A_context_that_was_saved_is_the_same_key_for_both()
    {
        var ours = await _tpm.CreatePrimaryAsync(TpmClient.Owner, KeyTemplates.AkEccP256(), Cancel);
        var context = await _tpm.SaveContextAsync(ours.Handle, Cancel);
        await _tpm.FlushContextAsync(ours.Handle, Cancel);
        Assert.Empty((await _swtpm.RunToolAsync("tpm2_getcap", "handles-transient")).Trim());
        var again = await _tpm.LoadContextAsync(context, Cancel);
        await _swtpm.RunToolAsync("tpm2_readpublic", "-c", $"0x{again:x8}", "-n", "name");
        Assert.Equal(ours.Name.ToArray(), await ReadAsync("name"));
        var (quote, _) = await _tpm.QuoteWithPcrsAsync(again, new byte[32], new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(0)), Cancel);
        await WriteAsync("msg", quote.Message);
        await WriteAsync("sig", quote.Signature);
        await _swtpm.RunToolAsync("tpm2_verifysignature", "-c", $"0x{again:x8}", "-g", "sha256", "-m", "msg", "-s", "sig");

        context[^1] ^= 1;
        await Assert.ThrowsAsync<TpmRefusedException>(async () => await _tpm.LoadContextAsync(context, Cancel));
    }

    [Theory]
    [InlineData(TpmAlgorithm.RsaSsa)]
    [InlineData(TpmAlgorithm.Ecdsa)]
    public async Task A_key_from_elsewhere_verifies_in_this_TPM_what_was_signed_there(TpmAlgorithm scheme)
    {
        using var elsewhere = new SoftwareTpm(scheme);
        var external = await _tpm.LoadExternalAsync(elsewhere.AttestationKey, Cancel);
        await _swtpm.RunToolAsync("tpm2_readpublic", "-c", $"0x{external.Handle:x8}", "-o", "pub", "-n", "name");
        Assert.Equal(elsewhere.AttestationKey.EncodeSized(), await ReadAsync("pub"));
        Assert.Equal(external.Name.ToArray(), await ReadAsync("name"));
        Assert.Equal(external.Name.ToArray(), elsewhere.AttestationKey.ComputeName());

        var (message, signature) = elsewhere.Certify(new byte[32]);
        await WriteAsync("msg", message);
        await WriteAsync("sig", signature);
        await _swtpm.RunToolAsync("tpm2_verifysignature", "-c", $"0x{external.Handle:x8}", "-g", "sha256", "-m", "msg", "-s", "sig");
        await WriteAsync("msg", (byte[])[.. message, 0]);
        await Assert.ThrowsAsync<InvalidOperationException>(() => _swtpm.RunToolAsync("tpm2_verifysignature", "-c", $"0x{external.Handle:x8}", "-g", "sha256", "-m", "msg", "-s", "sig"));
    }

    [Theory]
    [InlineData("ecc256:null:aes128cfb", "sha256")]
    [InlineData("rsa2048:null:aes128cfb", "sha256")]
    [InlineData("ecc384:null:aes256cfb", "sha384")]
    public async Task What_they_duplicate_we_import(string parent, string hash)
    {
        await MakeParentAsync(parent, hash);
        var data = RandomNumberGenerator.GetBytes(64);
        await WriteAsync("data", data);
        await _swtpm.RunToolAsync("tpm2_startauthsession", "-S", "session", "-g", hash);
        await _swtpm.RunToolAsync("tpm2_policycommandcode", "-S", "session", "-L", "policy", "TPM2_CC_Duplicate");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "session");
        await _swtpm.RunToolAsync("tpm2_create", "-C", "0x81010004", "-g", hash, "-i", "data", "-L", "policy", "-a", "userwithauth", "-u", "seal.pub", "-r", "seal.priv", "-c", "seal.ctx");
        await _swtpm.RunToolAsync("tpm2_startauthsession", "-S", "session", "--policy-session", "-g", hash);
        await _swtpm.RunToolAsync("tpm2_policycommandcode", "-S", "session", "TPM2_CC_Duplicate");
        await _swtpm.RunToolAsync("tpm2_duplicate", "-C", "0x81010004", "-c", "seal.ctx", "-G", "null", "-p", "session:session", "-r", "dup.priv", "-s", "dup.seed");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "session");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "-t");

        var key = await _tpm.ReadPublicAsync(0x81010004, Cancel);
        var area = SealedArea.Parse((await ReadAsync("seal.pub")).AsSpan(2));
        var imported = await _tpm.ImportAsync(key, area, Sized(await ReadAsync("dup.priv")), Sized(await ReadAsync("dup.seed")), Cancel);
        await WriteAsync("imported.priv", (byte[])[(byte)(imported.Length >> 8), (byte)(imported.Length & 0xFF), .. imported]);
        await _swtpm.RunToolAsync("tpm2_load", "-C", "0x81010004", "-u", "seal.pub", "-r", "imported.priv", "-c", "imported.ctx");
        await _swtpm.RunToolAsync("tpm2_unseal", "-c", "imported.ctx", "-o", "plain");
        Assert.Equal(data, await ReadAsync("plain"));
    }

    [Theory]
    [InlineData("ecc256:null:aes128cfb", "sha256", "sha256")]
    [InlineData("rsa2048:null:aes128cfb", "sha256", "sha384")]
    [InlineData("ecc384:null:aes256cfb", "sha384", "sha512")]
    public async Task What_they_seal_we_unseal(string parent, string hash, string bank)
    {
        await MakeParentAsync(parent, hash);
        var data = RandomNumberGenerator.GetBytes(64);
        await WriteAsync("data", data);
        await _swtpm.RunToolAsync("tpm2_createpolicy", "--policy-pcr", "-l", $"{bank}:16,23", "-g", hash, "-L", "policy");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "-l");
        await _swtpm.RunToolAsync("tpm2_create", "-C", "0x81010004", "-g", hash, "-i", "data", "-L", "policy", "-a", "fixedtpm|fixedparent", "-u", "seal.pub", "-r", "seal.priv");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "-t");

        TpmAlgorithms.TryFromProtocolName(bank, out var algorithm);
        var selection = new PcrSelection(algorithm, PcrSet.Of(16, 23));
        var key = await _tpm.ReadPublicAsync(0x81010004, Cancel);
        var seal = await _tpm.LoadSealAsync(key, SealedArea.Parse((await ReadAsync("seal.pub")).AsSpan(2)), Sized(await ReadAsync("seal.priv")), Cancel);
        Assert.Equal(data, await _tpm.UnsealAsync(seal, key, selection, Cancel));
        await _swtpm.RunToolAsync("tpm2_pcrextend", $"23:{bank}={new string('b', algorithm.DigestSize() * 2)}");
        await Assert.ThrowsAsync<TpmRefusedException>(async () => await _tpm.UnsealAsync(seal, key, selection, Cancel));
        await NothingIsLeftAsync();
    }

    [Theory]
    [InlineData("sha1", "sha256")]
    [InlineData("sha256", "sha384")]
    [InlineData("sha384", "sha512")]
    [InlineData("sha512", "sha256")]
    public async Task A_policy_over_values_that_are_not_there_yet_is_theirs_too(string bank, string hash)
    {
        TpmAlgorithms.TryFromProtocolName(bank, out var pcrBank);
        TpmAlgorithms.TryFromProtocolName(hash, out var policyHash);
        var values = RandomNumberGenerator.GetBytes(2 * pcrBank.DigestSize());
        await WriteAsync("values", values);
        await _swtpm.RunToolAsync("tpm2_createpolicy", "--policy-pcr", "-l", $"{bank}:8,9", "-f", "values", "-g", hash, "-L", "policy");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "-l");

        var selection = new PcrSelection(pcrBank, PcrSet.Of(8, 9));
        var wanted = CryptographicOperations.HashData(policyHash.HashName(), values); // by the hash of the session (Part 3, 23.7)
        Assert.Equal(await ReadAsync("policy"), await _tpm.ComputePcrPolicyAsync(selection, wanted, policyHash, Cancel));
        Assert.NotEqual(await ReadAsync("policy"), await _tpm.ComputePcrPolicyAsync(selection, ReadOnlyMemory<byte>.Empty, policyHash, Cancel));
        await NothingIsLeftAsync();
    }

    [Theory]
    [InlineData("rsa")]
    [InlineData("ecc")]
    public async Task A_credential_of_this_TPM_opens_with_their_tool(string kind)
    {
        await _swtpm.RunToolAsync("tpm2_createek", "-c", "ek.ctx", "-G", kind, "-u", "ek.pub");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "-t");
        await _swtpm.RunToolAsync("tpm2_createak", "-C", "ek.ctx", "-c", "ak.ctx", "-G", "ecc", "-g", "sha256", "-s", "ecdsa", "-n", "ak.name");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "-t");
        var secret = RandomNumberGenerator.GetBytes(32);

        // the endorsement key by its public part alone, as a verifier has it
        var salt = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, KeyTemplates.EkEccP256, Cancel);
        var ek = await _tpm.LoadExternalAsync(PublicArea.Parse(await ReadAsync("ek.pub")), Cancel);
        var blob = await _tpm.MakeCredentialAsync(ek, secret, await ReadAsync("ak.name"), salt, Cancel);
        await _tpm.FlushLeftoversAsync(Cancel);
        await WriteAsync("blob", blob.Encode());
        await _swtpm.RunToolAsync("tpm2_startauthsession", "-S", "session", "--policy-session");
        await _swtpm.RunToolAsync("tpm2_policysecret", "-S", "session", "-c", "e");
        await _swtpm.RunToolAsync("tpm2_activatecredential", "-c", "ak.ctx", "-C", "ek.ctx", "-i", "blob", "-o", "opened", "-P", "session:session");
        Assert.Equal(secret, await ReadAsync("opened"));
    }

    [Fact]
    public async Task A_PCR_that_we_reset_is_zero_for_them_and_one_of_the_boot_is_not_reset()
    {
        foreach (var pcr in new[] { 16, 23 })
        {
            await _swtpm.RunToolAsync("tpm2_pcrextend", $"{pcr}:sha256={new string('a', 64)},sha512={new string('a', 128)}");
            await _tpm.PcrResetAsync(pcr, Cancel);
            await _swtpm.RunToolAsync("tpm2_pcrread", $"sha256:{pcr}+sha512:{pcr}", "-o", "values");
            Assert.Equal(new byte[32 + 64], await ReadAsync("values"));
        }

        foreach (var pcr in new[] { 0, 10 })
            Assert.Equal(TpmError.Locality, (await Assert.ThrowsAsync<TpmRefusedException>(async () => await _tpm.PcrResetAsync(pcr, Cancel))).Code.Error);
    }

    [Fact]
    public async Task A_self_test_is_done_and_its_result_is_there()
    {
        await _tpm.SelfTestAsync(full: false, Cancel);
        await _tpm.SelfTestAsync(full: true, Cancel);
        Assert.Contains("success", await _swtpm.RunToolAsync("tpm2_gettestresult"), StringComparison.Ordinal);

        var device = new RecordingTpm("8001 0000000a 00000101"); // TPM_RC_FAILURE
        await using var broken = new TpmClient(device);
        Assert.Equal(TpmError.Failure, (await Assert.ThrowsAsync<TpmRefusedException>(async () => await broken.SelfTestAsync(full: true, Cancel))).Code.Error);
        Assert.Equal(["8001" + "0000000b" + "00000143" + "01"], device.Commands);
    }

    private async Task MakeParentAsync(string algorithm, string hash)
    {
        await _swtpm.RunToolAsync("tpm2_createprimary", "-C", "o", "-g", hash, "-G", algorithm, "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt|noda", "-c", "parent.ctx");
        await _swtpm.RunToolAsync("tpm2_evictcontrol", "-C", "o", "-c", "parent.ctx", "0x81010004");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "-t");
    }

    private async Task NothingIsLeftAsync() => Assert.Empty((await _swtpm.RunToolAsync("tpm2_getcap", "handles-loaded-session")).Trim());

    private string PathOf(string file) => Path.Combine(_swtpm.Folder, file);

    private Task<byte[]> ReadAsync(string file) => File.ReadAllBytesAsync(PathOf(file), Cancel);

    private Task WriteAsync(string file, ReadOnlyMemory<byte> bytes) => File.WriteAllBytesAsync(PathOf(file), bytes, Cancel);

    private static byte[] Sized(byte[] encoded) => new TpmReader(encoded).ReadSized().ToArray();
}
