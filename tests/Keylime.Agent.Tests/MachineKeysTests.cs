using System.Security.Cryptography.X509Certificates;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Agent.Tests;

/// <summary>Which endorsement key a machine is known by.</summary>
public sealed class MachineKeysTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("rsa", "L-1")]
    [InlineData("ecc", "L-2")]
    public async Task A_key_with_a_certificate_is_chosen_of_the_kind_that_is_wanted(string kind, string profile)
    {
        await using var swtpm = await Swtpm.StartAsync(new SwtpmOptions { EkCertificate = true, EccEkCertificate = true }, Cancel);
        Assert.Equal((profile, 1), await ChooseAsync(swtpm, kind));
    }

    [Fact]
    public async Task One_with_a_certificate_is_better_than_one_of_the_kind_that_is_wanted()
    {
        // as where the maker certifies ECC keys only; an index that is defined and empty is no certificate
        await using var swtpm = await Swtpm.StartAsync(new SwtpmOptions { EccEkCertificate = true }, Cancel);
        await swtpm.RunToolAsync("tpm2_nvdefine", $"0x{KeyTemplates.RsaCertificateIndex:x8}", "-C", "o", "-s", "1000", "-a", "ownerread|ownerwrite|authread|no_da");
        Assert.Equal(("L-2", 1), await ChooseAsync(swtpm, "rsa"));
    }

    [Fact]
    public async Task Without_any_certificate_it_is_the_key_that_every_TPM_has()
    {
        await using var swtpm = await Swtpm.StartAsync(new SwtpmOptions(), Cancel);
        Assert.Equal(("L-1", 0), await ChooseAsync(swtpm, "rsa"));
    }

    private static async Task<(string Profile, int Certificates)> ChooseAsync(Swtpm swtpm, string kind)
    {
        await using var tpm = swtpm.OpenClient();
        var options = new AgentOptions { KeylimeDir = swtpm.Folder, TpmEncryptionAlg = kind, TpmSigningAlg = kind == "ecc" ? "ecdsa" : "rsassa" };
        var keys = await MachineKeys.OpenAsync(tpm, options, Cancel);
        var chain = new X509Certificate2Collection();
        chain.ImportFromPem(await keys.ReadCertificatesAsync(Cancel));
        if (chain.Count > 0)
            Assert.Equal(MachineKeys.SpkiOf((await keys.GetEndorsementKeyAsync(Cancel)).Public), chain[0].PublicKey.ExportSubjectPublicKeyInfo());
        return (keys.Profile.Name, chain.Count);
    }
}
