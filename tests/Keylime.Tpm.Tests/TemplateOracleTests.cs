using Keylime.Testing;

namespace Keylime.Tpm.Tests;

/// <summary>
/// The keys that a maker certifies are made again from templates: one wrong bit makes another key, whose certificate is not there. tpm2-tools
/// makes them here from what the documents say, policies included, and ours must be the same.
/// </summary>
public sealed class TemplateOracleTests : IAsyncLifetime
{
    private const string Endorsement = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|adminwithpolicy|restricted|decrypt";
    private const string Device = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|adminwithpolicy|sign";

    private Swtpm _swtpm = null!; // InitializeAsync
    private TpmClient _tpm = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _swtpm = await Swtpm.StartAsync(null, Cancel);
        _tpm = _swtpm.OpenClient();
    }

    public async ValueTask DisposeAsync()
    {
        await _tpm.DisposeAsync();
        await _swtpm.DisposeAsync();
    }

    [Theory]
    [InlineData("H-1", "sha256", "rsa2048:null:aes128cfb", "0x01C07F01", 34)]
    [InlineData("H-2", "sha256", "ecc256:null:aes128cfb", "0x01C07F01", 34)]
    [InlineData("H-3", "sha384", "ecc384:null:aes256cfb", "0x01C07F02", 50)]
    [InlineData("H-4", "sha512", "ecc521:null:aes256cfb", "0x01C07F03", 66)]
    [InlineData("H-6", "sha384", "rsa3072:null:aes256cfb", "0x01C07F02", 50)]
    public async Task Endorsement_keys_of_the_high_range(string name, string hash, string algorithm, string index, int size)
    {
        await MakePolicyBAsync(hash, index, size);
        await CreateTheirsAsync(hash, algorithm, Endorsement, "policy-b", unique: null);

        var profile = KeyTemplates.EndorsementKeys.Single(p => p.Name == name);
        await IsOursAsync(profile.Template);
    }

    // TCG TPM 2.0 Keys for Device Identity and Attestation 1.0 r12: 7.3.1 (unique), 7.3.4 (tables 3 and 4), 7.3.6.6 (table 19: the policies)
    [Theory]
    [InlineData("IAK", "H-1", "sha256", "rsa2048:rsapss-sha256:null", "5437182326e414fca797d5f174615a1641f61255797c3a2b22c21d120b2d1e07")]
    [InlineData("IAK", "H-2", "sha256", "ecc256:ecdsa-sha256:null", "5437182326e414fca797d5f174615a1641f61255797c3a2b22c21d120b2d1e07")]
    [InlineData("IAK", "H-3", "sha384", "ecc384:ecdsa-sha384:null", "129d94ebf84556652c6eef43bbb757512ac87e52be7b349ca6ce4d826f749fcf672f51716c5cbb605f313bf345aab312")]
    [InlineData("IAK", "H-4", "sha512", "ecc521:ecdsa-sha512:null", "8060d1fb31716a29e48a6e5fece088bcfc1b278fc162255e81c3eca3544cd44af94410c3715d561cccd9e39a6cb2646d43535bb54ea88710deb5f7836bd9b586")]
    [InlineData("IDEVID", "H-1", "sha256", "rsa2048:null:null", "ad6b3a2284fd698a0710bf5cc1b9bdf15e2532e3f601fa4b93a6a8fa8de579ea")]
    [InlineData("IDEVID", "H-2", "sha256", "ecc256:ecdsa-sha256:null", "ad6b3a2284fd698a0710bf5cc1b9bdf15e2532e3f601fa4b93a6a8fa8de579ea")]
    [InlineData("IDEVID", "H-3", "sha384", "ecc384:ecdsa-sha384:null", "4db1aa836d0b5615df6ee53a40ef70c61c217f4303d44695925972bc927006cfa5cbdf6dc18c4dbe329b2f1542c3dd33")]
    [InlineData("IDEVID", "H-4", "sha512", "ecc521:ecdsa-sha512:null", "7dd7500fd6c1b94f97a6af910da147301ef28f662fee06f225a4ccadda3b4e6b38e66b2f3ad5dee1a0503cd2daedb1e68cfe4f84b03a8cd22bb6a976f071a72f")]
    public async Task Device_identity_keys(string mark, string name, string hash, string algorithm, string policy)
    {
        // The tools take a structure of the processor's own byte order: the size of each part, and room for the longest.
        const int room = 128; // of a coordinate
        var bytes = System.Text.Encoding.ASCII.GetBytes(mark);
        byte[] part = [(byte)bytes.Length, 0, .. bytes];
        byte[] coordinate = [.. part, .. new byte[sizeof(ushort) + room - part.Length]];
        await File.WriteAllBytesAsync(PathOf("unique"), algorithm.StartsWith("rsa", StringComparison.Ordinal) ? part : [.. coordinate, .. coordinate], Cancel);
        await CreateTheirsAsync(hash, algorithm, mark == "IAK" ? Device + "|restricted" : Device, policy, "unique");

        await IsOursAsync(mark == "IAK" ? KeyTemplates.Iak(name) : KeyTemplates.IDevId(name));
    }

    private async Task CreateTheirsAsync(string hash, string algorithm, string attributes, string policy, string? unique)
    {
        await _swtpm.RunToolAsync(
            "tpm2_createprimary", ["-C", "e", "-g", hash, "-G", algorithm, "-a", attributes, "-L", policy, "-c", "their.ctx", .. unique is null ? Array.Empty<string>() : ["-u", unique]]);
        await _swtpm.RunToolAsync("tpm2_readpublic", "-c", "their.ctx", "-o", "their.pub");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "-t");
    }

    private async Task IsOursAsync(PublicArea template)
    {
        var ours = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, template, Cancel);
        Assert.Equal(Convert.ToHexString(await File.ReadAllBytesAsync(PathOf("their.pub"), Cancel)), Convert.ToHexString(ours.Public.EncodeSized()));
    }

    // TCG EK Credential Profile 2.4, B.5 and B.6: PolicyOR of PolicyA, which is PolicySecret(endorsement), and PolicyC, which is
    // PolicyAuthorizeNV of an index that the profile describes.
    private async Task MakePolicyBAsync(string hash, string index, int size)
    {
        await _swtpm.RunToolAsync("tpm2_startauthsession", "-S", "session", "-g", hash);
        await _swtpm.RunToolAsync("tpm2_policysecret", "-S", "session", "-c", "e", "-L", "policy-a");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "session");
        await _swtpm.RunToolAsync(
            "tpm2_nvdefine", index, "-C", "o", "-g", hash, "-s", $"{size}", "-L", "policy-a", "-a", "policywrite|writeall|ppread|ownerread|authread|policyread|no_da");

        // that it has been written is part of its name
        await File.WriteAllBytesAsync(PathOf("zeros"), new byte[size], Cancel);
        await _swtpm.RunToolAsync("tpm2_startauthsession", "-S", "session", "--policy-session", "-g", hash);
        await _swtpm.RunToolAsync("tpm2_policysecret", "-S", "session", "-c", "e");
        await _swtpm.RunToolAsync("tpm2_nvwrite", index, "-C", index, "-P", "session:session", "-i", "zeros");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "session");

        await _swtpm.RunToolAsync("tpm2_startauthsession", "-S", "session", "-g", hash);
        await _swtpm.RunToolAsync("tpm2_policyauthorizenv", "-S", "session", "-L", "policy-c", index);
        await _swtpm.RunToolAsync("tpm2_flushcontext", "session");
        await _swtpm.RunToolAsync("tpm2_startauthsession", "-S", "session", "-g", hash);
        await _swtpm.RunToolAsync("tpm2_policyor", "-S", "session", "-L", "policy-b", $"{hash}:policy-a,policy-c");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "session");
    }

    private string PathOf(string file) => Path.Combine(_swtpm.Folder, file);
}
