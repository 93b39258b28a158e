using System.Text;
using CsCheck;

namespace Keylime.Attestation.Tests;

/// <summary>Keylime's runtime policy: what is taken, and what is refused with a reason.</summary>
public sealed class PolicyTests
{
    private const string Digest = "0000000000000000000000000000000000000000000000000000000000000000";

    [Fact]
    public void A_policy_of_upstream_is_taken()
    {
        var policy = Parse($$$"""
            {"meta":{"version":1,"generator":3,"timestamp":"2026-11-23T00:00:00"},"release":0,
             "digests":{"/a":["{{{Digest}}}"],"/b c":["{{{Digest[..40]}}}","{{{Digest}}}"]},"excludes":["/tmp/.*"],
             "keyrings":{},"ima":{"ignored_keyrings":[],"log_hash_alg":"sha1","dm_policy":null},"ima-buf":{},"verification-keys":""}
            """);
        Assert.Equal((2, 1), (policy.Paths, policy.Excludes));
        Assert.Empty(policy.Warnings);
    }

    [Fact]
    public void Members_that_nobody_here_knows_are_told_of_and_bounded()
    {
        var policy = Parse($$$"""
            {"meta":{"version":1,"author":"x"},"digests":{"/a":["{{{Digest}}}"]},"excludes":[".*"],"ima":{"log_hash_alg":"sha1","later":[{}]},"x\u0007y":{"a":[1,{"b":null}]}}
            """);
        Assert.Equal(["$.meta.author", "$.ima.later", @"$.x\x07y", "$.excludes[0]"], policy.Warnings.Select(w => w[..w.IndexOf(": ", StringComparison.Ordinal)]));

        var many = string.Join(',', Enumerable.Range(0, 1000).Select(i => $"\"m{i}\":{i}"));
        var bounded = Parse($$$"""{"meta":{"version":1},"digests":{"/a":["{{{Digest}}}"]},"excludes":[],"ima":{"log_hash_alg":"sha1"},{{{many}}}}""");
        Assert.Equal(33, bounded.Warnings.Length);
        Assert.Contains("968 more", bounded.Warnings[^1], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", "")]
    [InlineData("null", "$")]
    [InlineData("[]", "$")]
    [InlineData("{", "")]
    [InlineData("""{"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "meta")]
    [InlineData("""{"meta":{},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "version")]
    [InlineData("""{"meta":{"version":-1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "$.meta.version")]
    [InlineData("""{"meta":{"version":1,"generator":4},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "$.meta.generator")]
    [InlineData("""{"meta":{"version":1,"timestamp":7},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "$.meta.timestamp")]
    [InlineData("""{"meta":{"version":1},"release":"0","digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "$.release")]
    [InlineData("""{"meta":{"version":1},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "digests")]
    [InlineData("""{"meta":{"version":1},"digests":{},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "digests")]
    [InlineData("""{"meta":{"version":1},"digests":[],"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "$.digests: StartArray")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":"D"},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "$.digests['/a']: String")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":[]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "/a")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["00"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "/a")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["00000000000000000000000000000000000000000"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "/a")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["A000000000000000000000000000000000000000"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "/a")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["\u0000000000000000000000000000000000000000000"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "/a")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":[7]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "/a")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":[["D"]]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "/a")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"],"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "digests")]
    [InlineData("""{"meta":{"version":1},"digests":{"":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "digests")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a\u0000b":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "holds a zero")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":["("],"ima":{"log_hash_alg":"sha1"}}""", "excludes")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":["/ok","(?P<x>a)(?P=x)"],"ima":{"log_hash_alg":"sha1"}}""", "$.excludes[1]")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[7],"ima":{"log_hash_alg":"sha1"}}""", "excludes")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":"/tmp","ima":{"log_hash_alg":"sha1"}}""", "$.excludes")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{}}""", "log_hash_alg")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"md5"}}""", "log_hash_alg")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1","ignored_keyrings":"*"}}""", "$.ima.ignored_keyrings")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1","dm_policy":{}}}""", "$.ima.dm_policy")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1","dm_policy":7}}""", "$.ima.dm_policy")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"},"keyrings":{".ima":["x"]}}""", "$.keyrings['.ima']")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"},"ima-buf":{"x":["y"]}}""", "$.ima-buf['x']")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"},"verification-keys":"key"}""", "$.verification-keys")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"},"verification-keys":{}}""", "$.verification-keys")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"},"violations":{"budget":-1}}""", "$.violations.budget")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"},"violations":{"paths":["("]}}""", "$.violations.paths")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"},"violations":{"path":[]}}""", "$.violations.path")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"},"class-rules":{"memfs":{"mode":"off"}}}""", "$.class-rules.memfs")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"},"class-rules":{"memfd":{"mode":"check"}}}""", "$.class-rules.memfd.mode")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"},"class-rules":{"memfd":{"mode":"off","until":"x"}}}""", "$.class-rules.memfd.until")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"},"class-rules":{"memfd":{"mode":"off"},"memfd":{"mode":"off"}}}""", "$.class-rules.memfd")]
    [InlineData("""{"meta":{"version":1},"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "meta")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}} {}""", "")]
    public void A_policy_that_is_none_is_refused_and_says_where(string text, string where)
    {
        var bytes = Encoding.UTF8.GetBytes(text.Replace("\"D\"", $"\"{Digest}\"", StringComparison.Ordinal));
        Assert.False(RuntimePolicy.TryParse(bytes, out var policy, out var error));
        Assert.Null(policy);
        Assert.Contains(where, error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_policy_that_is_cut_anywhere_is_none()
    {
        var whole = Policies.TextWith($$$"""{"digests":{"/a":["{{{Digest}}}"]},"violations":{"budget":1,"paths":["/v"]},"class-rules":{"memfd":{"mode":"allow","reason":"r"} } }""");
        for (var length = 0; length < whole.Length; length++)
            Assert.False(RuntimePolicy.TryParse(whole.AsMemory(0, length), out _, out _));
        Assert.True(RuntimePolicy.TryParse(whole, out _, out var error), error);
    }

    [Fact]
    public void Any_bytes_give_a_policy_or_a_reason()
    {
        var whole = Policies.TextWith($$$"""{"digests":{"/a":["{{{Digest}}}"]}}""");
        Gen.Byte.Array[0, 200].Sample(bytes => Assert.NotEqual(RuntimePolicy.TryParse(bytes, out _, out var error), error is not null), iter: 2000);
        Gen.Select(Gen.Int[0, whole.Length - 1], Gen.Byte).Sample((at, value) =>
        {
            var changed = whole.ToArray();
            changed[at] = value;
            Assert.NotEqual(RuntimePolicy.TryParse(changed, out _, out var error), error is not null);
        }, iter: 3000);
    }

    [Fact]
    public void Fifty_megabytes_are_read_in_bounded_time_and_a_deep_one_is_refused()
    {
        var text = new StringBuilder(52_000_000).Append("""{"meta":{"version":1},"excludes":[],"ima":{"log_hash_alg":"sha1"},"digests":{""");
        var paths = 0;
        for (; text.Length < 50_000_000; paths++)
            text.Append(paths == 0 ? "" : ",").Append("\"/usr/lib/of/some/length/").Append(paths).Append("\":[\"").Append(Digest).Append("\"]");
        var bytes = Encoding.ASCII.GetBytes(text.Append("}}").ToString());
        var start = TimeProvider.System.GetTimestamp();
        Assert.True(RuntimePolicy.TryParse(bytes, out var policy, out var error), error);
        Assert.Equal(paths, policy.Paths);
        bytes[^3] = (byte)'!';
        Assert.False(RuntimePolicy.TryParse(bytes, out _, out error));
        Assert.True(TimeProvider.System.GetElapsedTime(start) < TimeSpan.FromSeconds(30));

        Assert.False(RuntimePolicy.TryParse(Encoding.ASCII.GetBytes("""{"x":""" + new string('[', 1_000_000)), out _, out error));
        Assert.Contains("depth", error, StringComparison.Ordinal);
        Assert.False(RuntimePolicy.TryParse(Encoding.ASCII.GetBytes("""{"ima":{"dm_policy":""" + string.Concat(Enumerable.Repeat("{\"rules\":", 100_000))), out _, out _));
        Assert.False(RuntimePolicyDocument.TryParse(Encoding.ASCII.GetBytes("""{"x":""" + new string('[', 1_000_000)), out _, out _));
    }

    [Theory]
    [InlineData("(a+)+$")]
    [InlineData("(a|aa)+$")]
    [InlineData("(a?){200}a{200}!!")]
    public void Excludes_take_linear_time_whatever_the_pattern(string pattern)
    {
        using var tpm = new Keylime.Testing.SoftwareTpm(Keylime.Tpm.TpmAlgorithm.Ecdsa);
        var list = new List().Add("/" + new string('a', 4000) + "!");
        var policy = Policies.Of([("/x", [Digest])], "/" + pattern);
        var start = TimeProvider.System.GetTimestamp();
        var result = Lists.Appraise(list.QuoteAfter(tpm, 1), list.Text, null, policy);
        Assert.Equal(FindingCodes.ImaNotInPolicy, result.Findings.Single().Code);
        Assert.True(TimeProvider.System.GetElapsedTime(start) < TimeSpan.FromSeconds(5));
    }

    private static RuntimePolicy Parse(string text)
    {
        Assert.True(RuntimePolicy.TryParse(Encoding.UTF8.GetBytes(text), out var policy, out var error), error);
        return policy;
    }
}
