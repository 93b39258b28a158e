using System.Text;

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
    public void What_is_not_applied_yet_is_told()
    {
        var policy = Parse($$$"""
            {"meta":{"version":1},"digests":{"/a":["{{{Digest}}}"]},"excludes":[".*"],
             "keyrings":{".ima":["x"]},"ima":{"log_hash_alg":"sha1","dm_policy":{}},"ima-buf":{"x":["y"]},"verification-keys":"key"}
            """);
        Assert.Equal(5, policy.Warnings.Length);
    }

    [Theory]
    [InlineData("", "")]
    [InlineData("null", "$")]
    [InlineData("[]", "$")]
    [InlineData("{", "")]
    [InlineData("""{"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "meta")]
    [InlineData("""{"meta":{},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "version")]
    [InlineData("""{"meta":{"version":1},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "digests")]
    [InlineData("""{"meta":{"version":1},"digests":{},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "digests")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":[]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "/a")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["00"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "/a")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":[7]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "/a")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"],"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "digests")]
    [InlineData("""{"meta":{"version":1},"digests":{"":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "digests")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":["("],"ima":{"log_hash_alg":"sha1"}}""", "excludes")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[7],"ima":{"log_hash_alg":"sha1"}}""", "excludes")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{}}""", "log_hash_alg")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"md5"}}""", "log_hash_alg")]
    [InlineData("""{"meta":{"version":1},"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""", "meta")]
    [InlineData("""{"meta":{"version":1},"digests":{"/a":["D"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}} {}""", "")]
    public void A_policy_that_is_none_is_refused_and_says_where(string text, string where)
    {
        var bytes = Encoding.UTF8.GetBytes(text.Replace("\"D\"", $"\"{Digest}\"", StringComparison.Ordinal));
        Assert.False(RuntimePolicy.TryParse(bytes, out var policy, out var error));
        Assert.Null(policy);
        Assert.Contains(where, error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("(a+)+$")]
    [InlineData("(a|aa)+$")]
    public void Excludes_take_linear_time_whatever_the_pattern(string pattern)
    {
        using var tpm = new Keylime.Testing.SoftwareTpm(Keylime.Tpm.TpmAlgorithm.Ecdsa);
        var path = "/" + new string('a', 200) + "!";
        var list = new List().Add(path);
        var policy = Policies.Of([("/x", [Digest])], "/" + pattern);
        var start = TimeProvider.System.GetTimestamp();
        var result = ImaLog.Appraise(list.QuoteAfter(tpm, 1), list.Text, null, policy);
        Assert.Equal(FindingCodes.ImaNotInPolicy, result.Findings.Single().Code);
        Assert.True(TimeProvider.System.GetElapsedTime(start) < TimeSpan.FromSeconds(5));
    }

    private static RuntimePolicy Parse(string text)
    {
        Assert.True(RuntimePolicy.TryParse(Encoding.UTF8.GetBytes(text), out var policy, out var error), error);
        return policy;
    }
}
