using System.Globalization;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>Several policies in one, some of them for a time.</summary>
public sealed class RuntimeLayerTests : IDisposable
{
    private static readonly DateTimeOffset Now = Lists.At;

    private readonly SoftwareTpm _tpm = new(TpmAlgorithm.Ecdsa);
    private readonly FileSigner _signer = new();

    public void Dispose()
    {
        _tpm.Dispose();
        _signer.Dispose();
    }

    [Fact]
    public void A_layer_that_ran_out_makes_what_it_alone_knows_stale()
    {
        var (next, last) = (Policies.Allowing("/bin/0", "/bin/1"), Policies.Of([("/bin/0", [List.HexOf("old")]), ("/bin/2", [List.HexOf("/bin/2")])], "/opt/.*"));
        var policy = Layered(("next", next, null), ("last", last, Now.AddDays(1)));
        var list = new List().Add("/bin/0").Add("/bin/0"u8.ToArray(), List.DigestOf("old")).Add("/bin/2").Add("/opt/x").Add("/bin/3");
        var quote = list.QuoteAfter(_tpm, 5);
        Assert.Equal(FindingCodes.ImaNotInPolicy, ImaLog.Appraise(quote, list.Text, ImaListFormat.Text, null, policy, Now).Codes());

        foreach (var late in (TimeSpan[])[TimeSpan.FromDays(1), TimeSpan.FromDays(300)])
        {
            var result = ImaLog.Appraise(quote, list.Text, ImaListFormat.Text, null, policy, Now + late);
            Assert.Equal($"{FindingCodes.ImaStale} {FindingCodes.ImaStale} {FindingCodes.ImaStale} {FindingCodes.ImaNotInPolicy}", result.Codes());
            Assert.Equal(new StaleLayer("last", Now.AddDays(1)), result.Findings[0].File!.Stale);
            Assert.Contains("'last'", result.Findings[0].Detail, StringComparison.Ordinal);
        }

        Assert.False(policy.HasLapsed(Now, Now.AddHours(23)));
        Assert.True(policy.HasLapsed(Now, Now.AddHours(24)));
        Assert.False(policy.HasLapsed(Now.AddHours(24), Now.AddHours(25)));
        Assert.Equal((4, 1), (policy.Paths, policy.Excludes));
    }

    [Fact]
    public void Keys_of_a_layer_that_ran_out_sign_what_is_stale()
    {
        var policy = Layered(("next", Policies.Allowing("/bin/0"), null), ("last", Policies.With($$$"""{"verification-keys":{{{FileSigner.QuotedKeys(_signer)}}}}"""), Now.AddDays(1)));
        var list = new List().AddSigned("/bin/9", _signer.Sign("/bin/9"));
        var quote = list.QuoteAfter(_tpm, 1);
        Assert.Equal("", ImaLog.Appraise(quote, list.Text, ImaListFormat.Text, null, policy, Now).Codes());
        Assert.Equal(FindingCodes.ImaStale, ImaLog.Appraise(quote, list.Text, ImaListFormat.Text, null, policy, Now.AddDays(2)).Codes());
    }

    [Fact]
    public void Settings_are_those_of_the_first_layer_that_mentions_them()
    {
        const string memfd = """{"digests":{"/x":["0000000000000000000000000000000000000000"]},"class-rules":{"memfd":{"mode":"MODE","reason":"r"}},"violations":{"budget":BUDGET}}""";
        RuntimePolicy Of(string mode, int budget) => Policies.With(memfd.Replace("MODE", mode, StringComparison.Ordinal).Replace("BUDGET", budget.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal));
        var silent = Policies.Allowing("/bin/0");
        var list = new List().Add("memfd:x").Violate("/v");
        Assert.Equal("", Lists.Appraise(_tpm, list, Layered(("a", silent, null), ("b", Of("allow", 1), null), ("c", Of("off", 0), null))).Codes());
        Assert.Equal($"{FindingCodes.ImaNotInPolicy} {FindingCodes.ImaViolation}", Lists.Appraise(_tpm, list, Layered(("a", silent, null), ("c", Of("off", 0), null), ("b", Of("allow", 1), null))).Codes());
        // A layer that ran out has no say.
        Assert.Equal("", Lists.Appraise(_tpm, list, Layered(("c", Of("off", 0), Now), ("b", Of("allow", 1), null), ("a", silent, null))).Codes());
    }

    [Fact]
    public void Layers_are_bounded_and_of_one_kind()
    {
        var one = Policies.Allowing("/bin/0");
        Assert.Contains("log_hash_alg sha256", Refusal(("a", one, null), ("b", Policies.With("""{"digests":{"/x":["0000000000000000000000000000000000000000"]},"ima":{"log_hash_alg":"sha256"}}"""), null)), StringComparison.Ordinal);
        Assert.Contains("twice", Refusal(("a", one, null), ("a", one, null)), StringComparison.Ordinal);
        Assert.Contains("layers itself", Refusal(("a", one, null), ("b", Layered(("c", one, null)), null)), StringComparison.Ordinal);
        Assert.Contains("0 layers", Refusal(), StringComparison.Ordinal);
        Assert.Contains("17 layers", Refusal([.. Enumerable.Range(0, 17).Select(i => ($"p{i}", one, (DateTimeOffset?)null))]), StringComparison.Ordinal);

        static string Refusal(params (string, RuntimePolicy, DateTimeOffset?)[] layers)
        {
            Assert.False(RuntimePolicy.TryLayer([.. layers.Select(l => new PolicyLayer(l.Item1, l.Item2, l.Item3))], out _, out var error));
            return error;
        }
    }

    private static RuntimePolicy Layered(params (string Name, RuntimePolicy Policy, DateTimeOffset? Until)[] layers)
    {
        Assert.True(RuntimePolicy.TryLayer([.. layers.Select(l => new PolicyLayer(l.Name, l.Policy, l.Until))], out var policy, out var error), error);
        return policy;
    }
}
