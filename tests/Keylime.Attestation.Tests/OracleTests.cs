using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>A real software TPM and the tools that the field uses: what they sign we verify, what we wrap they open.</summary>
public sealed class OracleTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("rsa", "rsassa", "sha256")]
    [InlineData("rsa", "rsassa", "sha384")]
    [InlineData("rsa", "rsapss", "sha256")]
    [InlineData("ecc", "ecdsa", "sha256")]
    public async Task Their_quote_passes_ours(string type, string scheme, string hash)
    {
        await using var swtpm = await Swtpm.StartAsync(null, Cancel);
        await MakeKeysAsync(swtpm, type, scheme, hash);
        await swtpm.RunToolAsync("tpm2_pcrextend", $"7:sha256={new string('1', 64)}");
        await swtpm.RunToolAsync("tpm2_quote", "-c", "ak.ctx", "-l", "sha256:0,7,10", "-q", Convert.ToHexStringLower(Evidence.Nonce),
            "-m", "quote.msg", "-s", "quote.sig", "-f", "tss", "-g", hash, "--scheme", scheme);

        Assert.True(AttestationKey.TryCreate(PublicArea.Parse(Read("ak.pub")), out var key, out var refusal), refusal?.Detail);
        using (key)
        {
            await using var tpm = swtpm.OpenClient();
            var values = await tpm.PcrReadAsync(Evidence.Asked, Cancel);
            var result = Quote.Verify(key, new QuoteRequest(Evidence.Nonce, Evidence.Asked, key.Scheme),
                new QuoteEvidence(Read("quote.msg"), Read("quote.sig"), values.Encode()));
            var quote = Assert.IsType<QuoteResult.Verified>(result).Quote;
            Assert.NotEqual(new byte[32], quote.Pcrs[7].ToArray());
        }

        byte[] Read(string name) => File.ReadAllBytes(Path.Combine(swtpm.Folder, name));
    }

    [Theory]
    [InlineData("rsa", "rsassa")]
    [InlineData("ecc", "ecdsa")]
    public async Task Our_credential_opens_with_their_tool(string type, string scheme)
    {
        await using var swtpm = await Swtpm.StartAsync(null, Cancel);
        await MakeKeysAsync(swtpm, type, scheme, "sha256");
        var ek = PublicArea.Parse(await File.ReadAllBytesAsync(Path.Combine(swtpm.Folder, "ek.pub"), Cancel));
        var ak = PublicArea.Parse(await File.ReadAllBytesAsync(Path.Combine(swtpm.Folder, "ak.pub"), Cancel));
        var secret = "0123456789abcdef0123456789abcdef"u8.ToArray();
        await File.WriteAllBytesAsync(Path.Combine(swtpm.Folder, "cred"), Credential.Make(ek, ak.ComputeName(), secret).Encode(), Cancel);

        await swtpm.RunToolAsync("tpm2_startauthsession", "--policy-session", "-S", "session.ctx");
        await swtpm.RunToolAsync("tpm2_policysecret", "-S", "session.ctx", "-c", "e");
        await swtpm.RunToolAsync("tpm2_activatecredential", "-c", "ak.ctx", "-C", "ek.ctx", "-i", "cred", "-o", "secret", "-P", "session:session.ctx");
        Assert.Equal(secret, await File.ReadAllBytesAsync(Path.Combine(swtpm.Folder, "secret"), Cancel));
    }

    private static async Task MakeKeysAsync(Swtpm swtpm, string type, string scheme, string hash)
    {
        await swtpm.RunToolAsync("tpm2_createek", "-G", type, "-c", "ek.ctx", "-u", "ek.pub");
        await swtpm.RunToolAsync("tpm2_createak", "-C", "ek.ctx", "-G", type, "-s", scheme, "-g", hash, "-c", "ak.ctx", "-u", "ak.pub");
        await swtpm.RunToolAsync("tpm2_flushcontext", "-t");
    }
}
