using System.Security.Cryptography;
using System.Text;
using CsCheck;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>What a list has told goes on to the next attestation, in one form of bytes.</summary>
public sealed class ImaStateTests
{
    [Fact]
    public void A_state_has_one_form()
    {
        using var signer = new FileSigner();
        Assert.True(ImaState.Empty.IsEmpty);
        Gen.Select(Gen.String[Gen.Char['a', 'z'], 1, 10].Array[0, 3], Gen.Long[0, 1000], Gen.Long[0, 1000]).Sample((rings, tolerated, spent) =>
        {
            var keyrings = KeyringSet.Empty;
            foreach (var ring in rings)
                Assert.True(keyrings.TryAdd(ring, signer.Key, out keyrings, out _));
            var state = new ImaState(keyrings, DeviceMapperState.Empty, tolerated + spent, spent);
            var bytes = state.Encode();
            Assert.True(ImaState.TryDecode(bytes, out var read, out var error), error);
            Assert.Equal(bytes, read.Encode());
            Assert.Equal((state.Violations, state.BudgetSpent, state.IsEmpty), (read.Violations, read.BudgetSpent, read.IsEmpty));
            Assert.Equal(state.Keyrings.Rings.Keys, read.Keyrings.Rings.Keys);
            for (var length = 0; length < bytes.Length; length++)
                Assert.False(ImaState.TryDecode(bytes.AsSpan(0, length), out _, out _));
            Assert.False(ImaState.TryDecode([.. bytes, 0], out _, out error));
        }, iter: 100);
    }

    [Theory]
    [InlineData("", "bytes")]
    [InlineData("020000000000000000000000000000000000000000", "version 1")]
    [InlineData("01ffffffffffffffff000000000000000000000000", "violations")]
    [InlineData("0100000000000000000000000000000001 00000000", "violations")]
    [InlineData("01000000000000000000000000000000007fffffff", "2147483647 bytes")]
    [InlineData("0100000000000000000000000000000000ffffffff", "-1 bytes")]
    [InlineData("010000000000000000000000000000000000000001 00", "")]
    public void What_is_no_state_is_refused_with_a_reason(string hex, string why)
    {
        Assert.False(ImaState.TryDecode(Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal)), out var state, out var error));
        Assert.Null(state);
        Assert.Contains(why, error, StringComparison.Ordinal);
    }

    [Fact]
    public void Any_bytes_give_a_state_or_a_reason() => Gen.Byte.Array[0, 120].Sample(bytes =>
    {
        bytes = [1, .. bytes];
        Assert.NotEqual(ImaState.TryDecode(bytes, out var state, out var error), error is not null);
        if (state is not null)
            Assert.Equal(bytes, state.Encode());
    }, iter: 3000);

    [Fact]
    public void Wherever_a_list_is_cut_keys_and_budget_go_on()
    {
        using var tpm = new SoftwareTpm(TpmAlgorithm.Ecdsa);
        using var signer = new FileSigner();
        var policy = Policies.With($$$"""{"keyrings":{".ima":["{{{Convert.ToHexStringLower(SHA256.HashData(signer.Spki))}}}"]},"violations":{"budget":2}}""");
        var list = new List().Violate("/a").AddBuffer(".ima", signer.Spki).AddSigned("/bin/0", signer.Sign("/bin/0")).Violate("/b").Violate("/c").AddSigned("/bin/1", signer.Sign("/bin/1")).Add("/bin/2");
        var whole = Lists.Appraise(tpm, list, policy);
        Assert.Equal($"{FindingCodes.ImaViolationBudget} {FindingCodes.ImaNotInPolicy}", whole.Codes());
        for (var cut = 1; cut < list.Lines.Count; cut++)
        {
            var first = Lists.Appraise(list.QuoteAfter(tpm, cut), list.Text, null, policy);
            var second = Lists.Appraise(tpm, list, policy, first.Proven! with { State = Again(first.Proven.State) });
            Assert.Equal(whole.Findings.Select(f => f.Detail), first.Findings.Concat(second.Findings).Select(f => f.Detail));
            Assert.Equal(whole.Proven!.State.Encode(), second.Proven!.State.Encode());
        }
    }

    [Fact]
    public void A_list_of_wrong_signatures_or_odd_keys_ends_soon()
    {
        using var tpm = new SoftwareTpm(TpmAlgorithm.Ecdsa);
        using var signer = new FileSigner();
        var policy = Policies.With($$$"""{"verification-keys":{{{FileSigner.QuotedKeys(signer)}}}}""");
        var wrong = new List().AddSigned("/bin/0", signer.Sign("/bin/1")).AddBuffer(".ima", [0x30, 0x82, 1, 0, .. new byte[256]]).AddBuffer(".ima", Encoding.ASCII.GetBytes("-----BEGIN PUBLIC KEY-----\nMA==\n-----END PUBLIC KEY-----\n"));
        byte[] text = [.. Enumerable.Repeat(wrong.Text, 20_000).SelectMany(t => t)];
        var start = TimeProvider.System.GetTimestamp();
        var result = Lists.Appraise(wrong.QuoteAfter(tpm, 2), text.AsMemory(wrong.Lines[0].Length), null, policy);
        Assert.Null(result.Proven);
        Assert.Equal(60_000, result.FindingCount);
        Assert.True(TimeProvider.System.GetElapsedTime(start) < TimeSpan.FromSeconds(30), TimeProvider.System.GetElapsedTime(start).ToString());
    }

    private static ImaState Again(ImaState state)
    {
        Assert.True(ImaState.TryDecode(state.Encode(), out var again, out var error), error);
        return again;
    }
}
