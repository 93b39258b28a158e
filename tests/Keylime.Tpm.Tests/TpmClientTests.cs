using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Keylime.Testing;

namespace Keylime.Tpm.Tests;

/// <summary>The commands, on a real swtpm.</summary>
public sealed class TpmClientTests : IAsyncLifetime
{
    private Swtpm _swtpm = null!;
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

    [Fact]
    public async Task Starting_a_started_TPM_changes_nothing()
    {
        await _tpm.PcrExtendAsync(16, [(TpmAlgorithm.Sha256, new byte[32])], Cancel);
        await _tpm.StartupAsync(keepState: false, Cancel);
        var pcrs = await _tpm.PcrReadAsync(new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(16)), Cancel);
        Assert.NotEqual(new byte[32], pcrs.Values[0].ToArray());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(20)]
    [InlineData(500)]
    public async Task GetRandom(ushort count) => Assert.Equal(count, (await _tpm.GetRandomAsync(count, Cancel)).Length);

    [Fact]
    public async Task GetCapability()
    {
        var algorithms = await _tpm.GetAlgorithmsAsync(Cancel);
        Assert.True(Assert.Single(algorithms, a => a.Algorithm == TpmAlgorithm.Ecdsa).IsSignatureScheme);
        Assert.True(Assert.Single(algorithms, a => a.Algorithm == TpmAlgorithm.Sha256).IsHash);
        var banks = await _tpm.GetPcrBanksAsync(Cancel);
        Assert.Equal([TpmAlgorithm.Sha1, TpmAlgorithm.Sha256, TpmAlgorithm.Sha384], banks.Select(bank => bank.Bank));
        Assert.All(banks, bank => Assert.Equal(24, bank.Pcrs.Count));
        Assert.Equal(0x322e3000u, await _tpm.GetPropertyAsync(0x100, Cancel)); // TPM_PT_FAMILY_INDICATOR: "2.0"
        Assert.Null(await _tpm.GetPropertyAsync(0x1FF, Cancel));
    }

    public static TheoryData<string> AttestationKeys => ["rsassa", "rsapss", "ecdsa"];

    private static (PublicArea Ek, PublicArea Ak) TemplatesOf(string scheme) => scheme switch
    {
        "rsassa" => (KeyTemplates.EkRsa2048, KeyTemplates.AkRsa2048()),
        "rsapss" => (KeyTemplates.EkRsa2048, KeyTemplates.AkRsa2048(TpmAlgorithm.RsaPss, TpmAlgorithm.Sha384)),
        _ => (KeyTemplates.EkEccP256, KeyTemplates.AkEccP256()),
    };

    private async Task<(LoadedKey Ek, LoadedKey Ak)> MakeKeysAsync(string scheme)
    {
        var (ekTemplate, akTemplate) = TemplatesOf(scheme);
        var ek = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, ekTemplate, Cancel);
        var (area, secret) = await _tpm.CreateUnderEndorsementKeyAsync(ek, akTemplate, Cancel);
        return (ek, await _tpm.LoadUnderEndorsementKeyAsync(ek, area, secret, Cancel));
    }

    [Theory]
    [MemberData(nameof(AttestationKeys))]
    public async Task A_quote_is_over_the_PCRs_and_the_challenge(string scheme)
    {
        var (_, ak) = await MakeKeysAsync(scheme);
        var challenge = RandomNumberGenerator.GetBytes(32);
        var selection = new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(0, 1, 2, 3, 4, 5, 6, 7, 10, 16, 23));
        var (signed, pcrs) = await _tpm.QuoteWithPcrsAsync(ak.Handle, challenge, selection, Cancel);

        var quote = QuoteStatement.Parse(signed.Message);
        Assert.Equal(challenge, quote.QualifyingData.ToArray());
        Assert.Equal([selection], quote.Selections);
        Assert.Equal(11, pcrs.Values.Length);
        Assert.Equal(scheme, TpmSignature.Parse(signed.Signature.Span).Scheme.ProtocolName());
    }

    [Theory]
    [MemberData(nameof(AttestationKeys))]
    public async Task A_certification_names_the_key(string scheme)
    {
        var (_, ak) = await MakeKeysAsync(scheme);
        var challenge = RandomNumberGenerator.GetBytes(32);
        var signed = await _tpm.CertifyAsync(ak.Handle, ak.Handle, challenge, Cancel);

        var statement = CertifyStatement.Parse(signed.Message);
        Assert.Equal(challenge, statement.QualifyingData.ToArray());
        Assert.Equal(ak.Public.ComputeName(), statement.Name.ToArray());
        Assert.Equal(ak.Name.ToArray(), statement.Name.ToArray());
        Assert.Equal(statement.QualifiedSigner.ToArray(), statement.QualifiedName.ToArray());
        Assert.Equal(scheme, TpmSignature.Parse(signed.Signature.Span).Scheme.ProtocolName());
    }

    [Fact]
    public async Task What_a_killed_run_left_is_flushed()
    {
        for (var i = 0; i < 3; i++)
        {
            await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, KeyTemplates.EkEccP256, Cancel);
            await _tpm.StartPolicySessionAsync(TpmAlgorithm.Sha256, Cancel);
        }

        var refused = await Assert.ThrowsAsync<TpmRefusedException>(async () =>
            await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, KeyTemplates.EkEccP256, Cancel));
        Assert.Equal(TpmError.ObjectMemory, refused.Code.Error);
        await _tpm.FlushLeftoversAsync(Cancel);

        Assert.Empty(await _tpm.GetHandlesAsync(0x80000000, Cancel));
        Assert.Empty(await _tpm.GetHandlesAsync(0x02000000, Cancel));
    }

    [Fact]
    public async Task A_reset_and_a_resume_are_told_apart_by_the_clock()
    {
        var first = await QuoteClockAsync();
        await _swtpm.SuspendAndResumeAsync();
        var resumed = await QuoteClockAsync();
        await _swtpm.ResetAsync();
        var reset = await QuoteClockAsync();

        Assert.Equal(first.ResetCount, resumed.ResetCount);
        Assert.Equal(first.RestartCount + 1, resumed.RestartCount);
        Assert.Equal(first.ResetCount + 1, reset.ResetCount);
        Assert.Equal(0u, reset.RestartCount);
    }

    private async Task<ClockInfo> QuoteClockAsync()
    {
        await _tpm.FlushLeftoversAsync(Cancel);
        var (_, ak) = await MakeKeysAsync("ecdsa");
        var signed = await _tpm.QuoteAsync(ak.Handle, new byte[16], new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(0)), Cancel);
        return QuoteStatement.Parse(signed.Message).Clock;
    }

    [Fact]
    public async Task Endorsement_certificates_are_read_without_their_padding()
    {
        await using var swtpm = await Swtpm.StartAsync(new SwtpmOptions { EkCertificate = true, EccEkCertificate = true }, Cancel);
        await using var tpm = swtpm.OpenClient();
        using var root = X509Certificate2.CreateFromPem(swtpm.CaCertificatePem!);
        foreach (var index in new[] { KeyTemplates.RsaCertificateIndex, KeyTemplates.EccCertificateIndex })
        {
            var der = Assert.Single(await tpm.ReadCertificatesAsync(index, Cancel));
            using var certificate = X509CertificateLoader.LoadCertificate(der.Span);
            Assert.Equal(root.Subject, certificate.Issuer);
            Assert.Equal(der.Length, certificate.RawData.Length);
        }

        Assert.Empty(await _tpm.ReadCertificatesAsync(KeyTemplates.RsaCertificateIndex, Cancel));
        Assert.Empty(await tpm.ReadEndorsementChainAsync(Cancel));
    }
}
