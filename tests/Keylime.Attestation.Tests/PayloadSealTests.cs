using System.Collections.Immutable;
using System.Globalization;
using System.Security.Cryptography;
using Keylime.Attestation.Payloads;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>What is sealed from afar to a boot opens in that TPM, in that boot, with those PCRs, in its time; and never else.</summary>
public sealed class PayloadSealTests : IAsyncLifetime
{
    private static readonly PcrSet Pcrs = PcrSet.Of(0, 7, 16);
    private Swtpm _swtpm = null!; // InitializeAsync
    private TpmClient _tpm = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _swtpm = await Swtpm.StartAsync(new SwtpmOptions { PcrBanks = "sha256,sha384" }, Cancel);
        _tpm = _swtpm.OpenClient();
    }

    public async ValueTask DisposeAsync()
    {
        await _tpm.DisposeAsync();
        await _swtpm.DisposeAsync();
    }

    [Theory]
    [InlineData("L-1", TpmAlgorithm.Sha256)]
    [InlineData("L-2", TpmAlgorithm.Sha256)]
    [InlineData("H-3", TpmAlgorithm.Sha256)]
    [InlineData("H-1", TpmAlgorithm.Sha384)]
    public async Task It_opens_here_and_now_only(string name, TpmAlgorithm bank)
    {
        var template = KeyTemplates.EndorsementKeys.Single(p => p.Name == name).Template;
        var ek = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, template, Cancel);
        var clock = await _tpm.ReadClockAsync(Cancel);
        var policy = await PolicyAsync(bank, clock.ResetCount, clock.Milliseconds + 600_000);
        var data = RandomNumberGenerator.GetBytes(64);
        var secret = policy.Seal(ek.Public, data);
        Assert.Equal(data, await OpenAsync(_tpm, ek, secret, policy));
        Assert.Equal(data, await OpenAsync(_tpm, ek, secret, policy)); // as often as it likes, in its time

        // a bit anywhere
        foreach (var altered in (WrappedSecret[])[secret with { Duplicate = Flip(secret.Duplicate) }, secret with { Seed = Flip(secret.Seed) }])
            await Assert.ThrowsAsync<TpmRefusedException>(async () => await OpenAsync(_tpm, ek, altered, policy));

        // another TPM, whose PCRs are the same
        await using (var other = await Swtpm.StartAsync(new SwtpmOptions { PcrBanks = "sha256,sha384" }, Cancel))
        {
            await using var otherTpm = other.OpenClient();
            var otherKey = await otherTpm.CreatePrimaryAsync(TpmClient.Endorsement, template, Cancel);
            var refused = await Assert.ThrowsAsync<TpmRefusedException>(async () => await OpenAsync(otherTpm, otherKey, secret, policy));
            Assert.Equal("TPM2_Import", refused.Command);
        }

        // another value in a PCR, then that value gone again
        await _tpm.PcrExtendAsync(16, [(bank, new byte[bank.DigestSize()])], Cancel);
        await RefusedAsync(ek, secret, policy, TpmError.PolicyFail);
        await _tpm.PcrResetAsync(16, Cancel);
        Assert.Equal(data, await OpenAsync(_tpm, ek, secret, policy));

        // a boot, after which the PCRs are what they were
        await _swtpm.ResetAsync();
        ek = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, template, Cancel);
        Assert.Equal(policy.Digest(template.NameAlgorithm), (await PolicyAsync(bank, clock.ResetCount, policy.Clock)).Digest(template.NameAlgorithm));
        await RefusedAsync(ek, secret, policy, TpmError.Policy);

        // time goes by
        policy = await PolicyAsync(bank, clock.ResetCount + 1, policy.Clock);
        secret = policy.Seal(ek.Public, data);
        Assert.Equal(data, await OpenAsync(_tpm, ek, secret, policy));
        await _swtpm.RunToolAsync("tpm2_setclock", policy.Clock.ToString(CultureInfo.InvariantCulture));
        await RefusedAsync(ek, secret, policy, TpmError.Policy);
        Assert.Empty(await _tpm.GetHandlesAsync(0x02000000, Cancel));
    }

    [Theory]
    [InlineData("L-1")]
    [InlineData("H-3")]
    public async Task An_operators_share_opens_in_its_TPM_with_its_own_step_alone(string name)
    {
        var ek = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, KeyTemplates.EndorsementKeys.Single(p => p.Name == name).Template, Cancel);
        var share = RandomNumberGenerator.GetBytes(32);
        var secret = SharePolicy.Seal(ek.Public, share);
        Assert.Equal(SharePolicy.Digest(ek.Public.NameAlgorithm), secret.Public.AuthPolicy);
        var seal = await LoadAsync(_tpm, ek, secret);
        Assert.Equal(share, await _tpm.UnsealAsync(seal, ek, [PolicyStep.OnlyUnseal], Cancel));
        Assert.Equal(TpmError.PolicyFail, (await Assert.ThrowsAsync<TpmRefusedException>(async () => await _tpm.UnsealAsync(seal, ek, ImmutableArray<PolicyStep>.Empty, Cancel))).Code.Error);
    }

    [Fact]
    public void What_nothing_guards_is_not_sealed()
    {
        Assert.Contains("At least one PCR", Assert.Throws<ArgumentException>(() => new BootBoundPolicy(TpmAlgorithm.Sha256, new Dictionary<int, ReadOnlyMemory<byte>>(), 1, 1)).Message, StringComparison.Ordinal);
        Assert.Contains("PCR 3 of 0 bytes, 32 are expected", Assert.Throws<ArgumentException>(() => new BootBoundPolicy(TpmAlgorithm.Sha256, new Dictionary<int, ReadOnlyMemory<byte>> { [3] = default }, 1, 1)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => new BootBoundPolicy(TpmAlgorithm.Sha256, new Dictionary<int, ReadOnlyMemory<byte>> { [32] = new byte[32] }, 1, 1));
    }

    [Fact]
    public void Each_part_of_a_policy_is_in_its_digest_and_the_order_of_the_values_is_not()
    {
        static BootBoundPolicy Make(byte value = 1, int pcr = 7, uint resets = 3, ulong clock = 4, bool turned = false) =>
            new(TpmAlgorithm.Sha256, new Dictionary<int, ReadOnlyMemory<byte>>(((KeyValuePair<int, ReadOnlyMemory<byte>>[])
                [new(0, new byte[32]), new(pcr, Enumerable.Repeat(value, 32).ToArray())]) is var values && turned ? values.Reverse() : values), resets, clock);

        var digests = ((BootBoundPolicy[])[Make(), Make(value: 2), Make(pcr: 8), Make(resets: 2), Make(clock: 5)]).Select(static p => Convert.ToHexString(p.Digest(TpmAlgorithm.Sha256)));
        Assert.Equal(5, digests.Distinct().Count());
        Assert.Equal(Make().Digest(TpmAlgorithm.Sha384), Make(turned: true).Digest(TpmAlgorithm.Sha384));
    }

    private async Task<BootBoundPolicy> PolicyAsync(TpmAlgorithm bank, uint resetCount, ulong clock)
    {
        var read = await _tpm.PcrReadAsync(new PcrSelection(bank, Pcrs), Cancel);
        return new BootBoundPolicy(bank, read.Selection.Pcrs.Zip(read.Values).ToDictionary(), resetCount, clock);
    }

    // As the agent does: it is told the PCRs, not their values.
    private static async Task<byte[]> OpenAsync(TpmClient tpm, LoadedKey ek, WrappedSecret secret, BootBoundPolicy policy) => await tpm.UnsealImportedAsync(
        ek, secret.Public, secret.Duplicate, secret.Seed,
        [new PolicyStep.Pcrs(policy.Selection, ReadOnlyMemory<byte>.Empty), PolicyStep.ResetCountIs(policy.ResetCount), PolicyStep.ClockBefore(policy.Clock)], Cancel);

    private static async Task<LoadedSeal> LoadAsync(TpmClient tpm, LoadedKey ek, WrappedSecret secret) =>
        await tpm.LoadSealAsync(ek, secret.Public, await tpm.ImportAsync(ek, secret.Public, secret.Duplicate, secret.Seed, Cancel), Cancel);

    private async Task RefusedAsync(LoadedKey ek, WrappedSecret secret, BootBoundPolicy policy, TpmError error) =>
        Assert.Equal(error, (await Assert.ThrowsAsync<TpmRefusedException>(async () => await OpenAsync(_tpm, ek, secret, policy))).Code.Error);

    private static byte[] Flip(ReadOnlyMemory<byte> bytes)
    {
        var flipped = bytes.ToArray();
        flipped[flipped.Length / 2] ^= 1;
        return flipped;
    }
}
