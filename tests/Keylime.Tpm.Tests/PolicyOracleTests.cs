using System.Collections.Immutable;
using System.Globalization;
using Keylime.Testing;

namespace Keylime.Tpm.Tests;

/// <summary>Policies of several steps: the digest that we compute, the TPM's, and tpm2-tools' are one; and what each step is for.</summary>
public sealed class PolicyOracleTests : IAsyncLifetime
{
    private const uint LoadedSessions = 0x02000000;
    private Swtpm _swtpm = null!; // InitializeAsync
    private TpmClient _tpm = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _swtpm = await Swtpm.StartAsync(new SwtpmOptions { PcrBanks = "sha1,sha256,sha384" }, Cancel);
        _tpm = _swtpm.OpenClient();
    }

    public async ValueTask DisposeAsync()
    {
        await _tpm.DisposeAsync();
        await _swtpm.DisposeAsync();
    }

    [Theory]
    [InlineData("sha256", "sha256")]
    [InlineData("sha384", "sha256")]
    [InlineData("sha256", "sha384")]
    [InlineData("sha384", "sha1")]
    public async Task Ours_the_TPMs_and_the_tools_digest_is_one(string hash, string bank)
    {
        TpmAlgorithms.TryFromProtocolName(hash, out var algorithm);
        TpmAlgorithms.TryFromProtocolName(bank, out var pcrBank);
        await _swtpm.RunToolAsync("tpm2_pcrextend", $"23:{bank}={new string('c', pcrBank.DigestSize() * 2)}");
        var values = await _tpm.PcrReadAsync(new PcrSelection(pcrBank, PcrSet.Of(0, 16, 23)), Cancel);

        await _swtpm.RunToolAsync("tpm2_startauthsession", "-S", "trial", "-g", hash);
        await _swtpm.RunToolAsync("tpm2_policypcr", "-S", "trial", "-l", $"{bank}:0,16,23", "-L", "pcr");
        await _swtpm.RunToolAsync("tpm2_policycountertimer", "-S", "trial", "--eq", "resets=7", "-L", "resets");
        await _swtpm.RunToolAsync("tpm2_policycountertimer", "-S", "trial", "--ult", "clock=123456789012", "-L", "clock");
        await _swtpm.RunToolAsync("tpm2_policycommandcode", "-S", "trial", "-L", "command", "TPM2_CC_Unseal");
        await _swtpm.RunToolAsync("tpm2_flushcontext", "trial");

        ImmutableArray<PolicyStep> steps =
        [
            new PolicyStep.Pcrs(values.Selection, values.ComputeDigest(algorithm)), PolicyStep.ResetCountIs(7), PolicyStep.ClockBefore(123456789012), PolicyStep.OnlyUnseal,
        ];
        foreach (var (index, file) in ((string[])["pcr", "resets", "clock", "command"]).Index())
        {
            var count = index + 1;
            var theirs = await File.ReadAllBytesAsync(Path.Combine(_swtpm.Folder, file), Cancel);
            Assert.Equal(theirs, PolicyStep.DigestOf(steps[..count], algorithm));
            Assert.Equal(theirs, await _tpm.ComputePolicyAsync(steps[..count], algorithm, Cancel));
        }
    }

    [Theory]
    [InlineData("sha256")]
    [InlineData("sha384")]
    public async Task The_clock_that_we_read_is_the_one_that_the_tools_read_and_unseals_in_its_time_only(string hash)
    {
        TpmAlgorithms.TryFromProtocolName(hash, out var algorithm);
        var before = await _tpm.ReadClockAsync(Cancel);
        var theirs = await _swtpm.RunToolAsync("tpm2_readclock");
        Assert.Contains($"reset_count: {before.ResetCount}\n", theirs, StringComparison.Ordinal);
        Assert.Contains($"restart_count: {before.RestartCount}\n", theirs, StringComparison.Ordinal);
        var clock = ulong.Parse(theirs.Split('\n').Select(static l => l.Trim()).Single(static l => l.StartsWith("clock: ", StringComparison.Ordinal))[7..], CultureInfo.InvariantCulture);
        Assert.InRange(clock, before.Milliseconds, (await _tpm.ReadClockAsync(Cancel)).Milliseconds);

        var ek = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, algorithm == TpmAlgorithm.Sha384 ? KeyTemplates.EndorsementKeys.Single(static k => k.Name == "H-3").Template : KeyTemplates.EkEccP256, Cancel);
        var limit = before.Milliseconds + 600_000;
        ImmutableArray<PolicyStep> steps = [PolicyStep.ResetCountIs(before.ResetCount), PolicyStep.ClockBefore(limit)];
        var seal = await SealAsync(ek, steps, algorithm);
        Assert.Equal("a secret"u8.ToArray(), await _tpm.UnsealAsync(seal, ek, steps, Cancel));

        // not with other steps, another order, or one less
        foreach (var others in (ImmutableArray<PolicyStep>[])[[steps[0]], [steps[1]], [steps[1], steps[0]], [], [.. steps, PolicyStep.OnlyUnseal], [steps[0], PolicyStep.ClockBefore(limit + 1)]])
            await RefusedAsync(seal, ek, others, TpmError.PolicyFail);
        await RefusedAsync(seal, ek, [PolicyStep.ResetCountIs(before.ResetCount + 1), steps[1]], TpmError.Policy);

        // time goes by
        await _swtpm.RunToolAsync("tpm2_setclock", limit.ToString(CultureInfo.InvariantCulture));
        await RefusedAsync(seal, ek, steps, TpmError.Policy);
        Assert.Empty(await _tpm.GetHandlesAsync(LoadedSessions, Cancel));
    }

    [Fact]
    public async Task What_is_for_unsealing_alone_unseals_and_after_a_boot_a_reset_count_is_another()
    {
        var ek = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, KeyTemplates.EkEccP256, Cancel);
        var seal = await SealAsync(ek, [PolicyStep.OnlyUnseal], TpmAlgorithm.Sha256);
        Assert.Equal("a secret"u8.ToArray(), await _tpm.UnsealAsync(seal, ek, [PolicyStep.OnlyUnseal], Cancel));
        await RefusedAsync(seal, ek, [new PolicyStep.CommandCode(0x00000148)], TpmError.PolicyFail); // TPM2_Certify

        var before = await _tpm.ReadClockAsync(Cancel);
        await _swtpm.SuspendAndResumeAsync();
        Assert.Equal((before.ResetCount, before.RestartCount + 1), (await ClockAsync()).Counts());
        await _swtpm.ResetAsync();
        Assert.Equal((before.ResetCount + 1, 0u), (await ClockAsync()).Counts());

        async Task<ClockInfo> ClockAsync() => await _tpm.ReadClockAsync(Cancel);
    }

    private async Task RefusedAsync(LoadedSeal seal, LoadedKey ek, ImmutableArray<PolicyStep> steps, TpmError error) =>
        Assert.Equal(error, (await Assert.ThrowsAsync<TpmRefusedException>(async () => await _tpm.UnsealAsync(seal, ek, steps, Cancel))).Code.Error);

    private async Task<LoadedSeal> SealAsync(LoadedKey ek, ImmutableArray<PolicyStep> steps, TpmAlgorithm hash)
    {
        var (@private, area) = await _tpm.SealAsync(ek, new SealedArea { NameAlgorithm = hash, AuthPolicy = PolicyStep.DigestOf(steps, hash) }, "a secret"u8.ToArray(), Cancel);
        return await _tpm.LoadSealAsync(ek, area, @private, Cancel);
    }
}

file static class ClockCounts
{
    public static (uint Resets, uint Restarts) Counts(this ClockInfo clock) => (clock.ResetCount, clock.RestartCount);
}
