using System.Text;
using System.Text.Json.Nodes;
using CsCheck;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>A policy as a text: nothing in it is lost, and what differs, is unwise or is missing can be said in words.</summary>
public sealed class RuntimePolicyDocumentTests
{
    private const string Sha1 = "0000000000000000000000000000000000000000";
    private const string Sha256 = "1111111111111111111111111111111111111111111111111111111111111111";
    private const string Full = $$$"""
        {"z":{"nested":[1,2.50,null]},"class-rules":{"memfd":{"mode":"allow","reason":"runc"}},"verification-keys":"","ima-buf":{"b":["{{{Sha256}}}"]},
         "ima":{"new":true,"dm_policy":null,"log_hash_alg":"sha256","ignored_keyrings":[".evm"]},"keyrings":{".ima":["{{{Sha256}}}"]},
         "violations":{"paths":["/var/log/.*"],"budget":3},"excludes":["/tmp/.*","/a+é"],"digests":{"/b é+":["{{{Sha256}}}","{{{Sha1}}}"],"/a":["{{{Sha1}}}"]},
         "release":2,"meta":{"x":"y","timestamp":"2026-11-24","generator":3,"version":1}}
        """;

    [Fact]
    public void Whatever_the_order_the_text_is_one_and_nothing_is_lost()
    {
        var document = Parse(Full);
        var text = Encoding.UTF8.GetString(document.Write());
        Assert.True(JsonNode.DeepEquals(Sorted(JsonNode.Parse(Full)!), Sorted(JsonNode.Parse(text)!)), text);
        Assert.Equal(text, Encoding.UTF8.GetString(Parse(text).Write()));
        Assert.Contains("\"/b é+\"", text, StringComparison.Ordinal);
        Assert.True(document.Diff(Parse(text)).IsEmpty);
        Assert.True(RuntimePolicy.TryParse(document.Write(), out var policy, out var error), error);
        Assert.Equal((2, 2), (policy.Paths, policy.Excludes));

        var empty = new RuntimePolicyDocument();
        Assert.Equal(Encoding.UTF8.GetString(empty.Write()), Encoding.UTF8.GetString(Parse(Encoding.UTF8.GetString(empty.Write())).Write()));
    }

    [Theory]
    [InlineData("\"x.y\":1e999")]
    [InlineData("\"\":{}")]
    [InlineData("\"ima.x\":{},\"meta.x\":{}")]
    [InlineData("\"x\":\"\\u0000\\u202e</script>\"")]
    public void What_judges_can_be_edited(string member)
    {
        var text = $$$"""{"meta":{"version":1,"generator":3},"digests":{"/a":["{{{Sha256}}}"]},"excludes":[],"ima":{"log_hash_alg":"sha1"},{{{member}}} }""";
        Assert.True(RuntimePolicy.TryParse(Encoding.UTF8.GetBytes(text), out _, out var error), error);
        var document = Parse(text);
        Assert.Empty(document.Diff(Parse(Encoding.UTF8.GetString(document.Write()))).Changes);
        Assert.DoesNotContain(document.Lint(), l => l.IsError);
    }

    [Theory]
    [InlineData("\"x\":\"\\ud800\"")]
    [InlineData("\"x\":[1,{\"y\":\"\\udfff\"}]")]
    [InlineData("\"x\":{\"\\ud800\":1}")]
    [InlineData("\"\\ud800\":1")]
    public void Text_that_is_none_is_refused_by_both(string member)
    {
        var text = Encoding.UTF8.GetBytes($$$"""{"meta":{"version":1},"digests":{"/a":["{{{Sha256}}}"]},"excludes":[],"ima":{"log_hash_alg":"sha1"},{{{member}}} }""");
        Assert.False(RuntimePolicy.TryParse(text, out _, out _));
        Assert.False(RuntimePolicyDocument.TryParse(text, out _, out _));
    }

    [Fact]
    public void A_byte_that_is_no_text_is_refused_by_both_with_its_place()
    {
        var text = Encoding.UTF8.GetBytes($$$"""{"meta":{"version":1},"digests":{"/a":["{{{Sha256}}}"]},"excludes":[],"ima":{"log_hash_alg":"sha1"},"é":"here"}""");
        text[^3] = 0xff;
        Assert.False(RuntimePolicy.TryParse(text, out _, out var error));
        Assert.Equal($"$: byte {text.Length - 3} is no UTF-8.", error);
        Assert.False(RuntimePolicyDocument.TryParse(text, out _, out var same));
        Assert.Equal(error, same);
    }

    [Theory]
    [InlineData("", "")]
    [InlineData("[]", "$: Array")]
    [InlineData("{\"digests\":[]}", "$.digests")]
    [InlineData("{\"digests\":{\"/a\":\"x\"}}", "$.digests['/a']")]
    [InlineData("{\"digests\":{\"/a\":[7]}}", "$.digests['/a']")]
    [InlineData("{\"excludes\":{}}", "$.excludes")]
    [InlineData("{\"meta\":{\"version\":\"1\"}}", "$.meta.version")]
    [InlineData("{\"meta\":7}", "$.meta")]
    [InlineData("{\"release\":1.5}", "$.release")]
    [InlineData("{\"ima\":{\"ignored_keyrings\":7}}", "$.ima.ignored_keyrings")]
    [InlineData("{\"violations\":{\"limit\":7}}", "$.violations.limit")]
    [InlineData("{\"class-rules\":{\"memfd\":{}}}", "$.class-rules.memfd.mode")]
    [InlineData("{\"class-rules\":{\"memfd\":\"allow\"}}", "$.class-rules.memfd")]
    [InlineData("{\"verification-keys\":{}}", "$.verification-keys")]
    public void What_has_not_the_shape_of_a_policy_is_refused_with_the_place(string text, string where)
    {
        Assert.False(RuntimePolicyDocument.TryParse(Encoding.UTF8.GetBytes(text), out _, out var error));
        Assert.Contains(where, error, StringComparison.Ordinal);
    }

    [Fact]
    public void Merging_unites_lists_and_tells_which_settings_it_did_not_take()
    {
        var (one, other) = (Parse(Full), Parse($$$"""
            {"meta":{"version":2,"generator":1},"digests":{"/a":["{{{Sha256}}}"],"/c":["{{{Sha1}}}"]},"excludes":["/tmp/.*","/opt/.*"],"keyrings":{".evm":["{{{Sha256}}}"]},
             "ima":{"log_hash_alg":"sha1","ignored_keyrings":[".builtin"]},"class-rules":{"memfd":{"mode":"off"},"dpkg-temporary":{"mode":"allow","reason":"r"}},
             "violations":{"budget":9,"paths":["/var/log/.*","/var/lib/.*"]},"z":{"nested":[]},"w":1}
            """));
        var merged = one.Merge(other, out var notes);
        Assert.Equal([Sha1, Sha256], merged.Digests["/a"]);
        Assert.Equal(["/a", "/b é+", "/c"], merged.Digests.Keys);
        Assert.Equal(["/tmp/.*", "/a+é", "/opt/.*"], merged.Excludes);
        Assert.Equal([".evm", ".ima"], merged.Keyrings.Keys);
        Assert.Equal([".builtin", ".evm"], merged.IgnoredKeyrings);
        Assert.Equal((2, 2, "sha256", 3L), (merged.Version, merged.Release, merged.LogHash, merged.Violations!.Budget));
        Assert.Equal(["dpkg-temporary", "memfd"], merged.ClassRules.Keys);
        Assert.Equal(["$.ima.new", "$.meta.x", "$.w", "$.z"], merged.Unknown.Keys);
        Assert.Equal(["$.ima.log_hash_alg", "$.violations.budget", "$.class-rules.memfd", "$.z"], notes.Select(n => n[..n.IndexOf(':', StringComparison.Ordinal)]));
        Assert.Equal(["/var/log/.*", "/var/lib/.*"], merged.Violations!.Paths);
        Assert.Equal([Sha1], one.Digests["/a"]); // neither of the two was touched
    }

    [Fact]
    public void Keys_of_both_are_united()
    {
        using var first = new FileSigner();
        using var second = new FileSigner();
        var merged = new RuntimePolicyDocument { VerificationKeys = first.VerificationKeys }.Merge(new RuntimePolicyDocument { VerificationKeys = second.VerificationKeys }, out var notes);
        Assert.Empty(notes);
        Assert.True(Keyring.TryFromPolicy(merged.VerificationKeys, out var keys, out var error), error);
        Assert.Equal(new[] { first.Key.Id, second.Key.Id }.Order(), keys.Keys.Select(k => k.Id).Order());
        var change = new RuntimePolicyDocument { VerificationKeys = first.VerificationKeys }.Diff(merged).Changes.Single();
        Assert.Contains($"{second.Key.Id:x8}", change.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Differences_are_sentences()
    {
        var (before, after) = (Parse($$$"""
            {"meta":{"version":1,"generator":3},"digests":{"/a":["{{{Sha1}}}"],"/b":["{{{Sha1}}}"],"/c":["{{{Sha1}}}"],"/same":["{{{Sha1}}}"]},"excludes":["/tmp/.*"],"ima":{"log_hash_alg":"sha1"}}
            """), Parse($$$"""
            {"meta":{"version":1,"generator":3},"digests":{"/a":["{{{Sha256}}}"],"/c":["{{{Sha1}}}","{{{Sha256}}}"],"/d":["{{{Sha1}}}"],"/same":["{{{Sha1}}}"]},"excludes":["/opt/.*"],"ima":{"log_hash_alg":"sha256"},
             "keyrings":{".ima":["{{{Sha256}}}"]},"class-rules":{"memfd":{"mode":"allow","reason":"runc"} } }
            """));
        Assert.Equal(
            [
                $"/a changes from the digest {Sha1} to the digest {Sha256}.",
                $"/b is gone; it had the digest {Sha1}.",
                $"/c may also have the digest {Sha256}.",
                $"/d is new, with the digest {Sha1}.",
                "$.excludes does not have any more: /tmp/.*.",
                "$.excludes has: /opt/.*.",
                $"The keyring .ima is new, with the key {Sha256}.",
                "$.ima.log_hash_alg was sha1, and is sha256.",
                "$.class-rules.memfd is set: allow (runc).",
            ],
            before.Diff(after).Changes.Select(c => c.ToString()));
        Assert.True(before.Diff(before).IsEmpty);
        Assert.Equal($"/c may not have the digest {Sha256} any more.", after.Diff(before).Changes.Single(c => c.Key == "/c").ToString());
    }

    [Theory]
    [InlineData("\"excludes\":[\".*\"]", "exclude.matches_everything")]
    [InlineData("\"excludes\":[\"/?\"]", "exclude.matches_everything")]
    [InlineData("\"excludes\":[\"/us\"]", "exclude.covers_listed")]
    [InlineData("\"excludes\":[\"/usr$\"]", "")]
    [InlineData("\"excludes\":[\"/opt/.*\",\"/opt/.*\"]", "exclude.duplicate")]
    [InlineData("\"excludes\":[\"opt/.*\"]", "exclude.never_matches")]
    [InlineData("\"excludes\":[\"^opt/.*\"]", "exclude.never_matches")]
    [InlineData("\"excludes\":[\"boot_aggregate\",\"memfd:.*\",\"/opt\"]", "")]
    [InlineData("\"excludes\":[\"(\"]", "exclude.malformed!")]
    [InlineData("\"digests\":{}", "policy.empty!")]
    [InlineData("\"digests\":{\"/a\":[]}", "digest.none!")]
    [InlineData("\"digests\":{\"/a\":[\"zz\"]}", "digest.malformed!")]
    [InlineData("\"digests\":{\"/a\":[\"0000000000000000000000000000000000000000\"]}", "digest.weak")]
    [InlineData("\"digests\":{\"/a\":[\"0000000000000000000000000000000000000000\",\"1111111111111111111111111111111111111111111111111111111111111111\"]}", "")]
    [InlineData("\"digests\":{\"/a b\":[\"D\"]}", "path.space")]
    [InlineData("\"digests\":{\"bin/a\":[\"D\"],\"boot_aggregate\":[\"D\"]}", "path.relative")]
    [InlineData("\"digests\":{\"/a\":[\"D\",\"D\"]}", "digest.duplicate")]
    [InlineData("\"digests\":{\"/a\":[\"D\"],\"/a\":[\"D\"]}", "member.duplicate!")]
    [InlineData("\"release\":0,\"release\":0", "member.duplicate!")]
    [InlineData("\"nobody-knows\":{}", "member.unknown")]
    [InlineData("\"meta\":{\"version\":1,\"generator\":1}", "meta.generator")]
    [InlineData("\"ima\":{\"log_hash_alg\":\"md5\"}", "policy.refused!")]
    [InlineData("\"ima\":{\"log_hash_alg\":\"sha1\",\"ignored_keyrings\":[\"*\"]}", "keyrings.all_ignored")]
    [InlineData("\"violations\":{\"budget\":0,\"paths\":[\"/\"]}", "violations.matches_everything")]
    [InlineData("\"class-rules\":{\"memfd\":{\"mode\":\"allow\"}}", "class_rule.no_reason")]
    [InlineData("\"class-rules\":{\"memfd\":{\"mode\":\"check\"}}", "class_rule.mode!")]
    [InlineData("\"class-rules\":{\"memfs\":{\"mode\":\"off\"}}", "class_rule.unknown!")]
    [InlineData("\"verification-keys\":\"x\"", "policy.refused!")]
    public void Lint(string members, string expected)
    {
        var parts = new List<string> { "\"meta\":{\"version\":1,\"generator\":3}", "\"digests\":{\"/usr/bin/a\":[\"D\"]}", "\"excludes\":[]", "\"ima\":{\"log_hash_alg\":\"sha1\"}" };
        parts.RemoveAll(p => members.StartsWith(p[..p.IndexOf(':', StringComparison.Ordinal)], StringComparison.Ordinal));
        var text = $"{{{string.Join(',', parts)},{members}}}".Replace("\"D\"", $"\"{Sha256}\"", StringComparison.Ordinal);
        Assert.Equal(expected, string.Join(' ', Parse(text).Lint().Select(l => l.Code + (l.IsError ? "!" : ""))));
    }

    [Theory]
    [InlineData(".*")]
    [InlineData("/?")]
    public void What_excludes_or_tolerates_everything_is_told(string pattern)
    {
        var text = $"{{\"meta\":{{\"version\":1}},\"digests\":{{\"/a\":[\"{Sha256}\"]}},\"excludes\":[\"{pattern}\"],\"ima\":{{\"log_hash_alg\":\"sha1\"}},\"violations\":{{\"budget\":0,\"paths\":[\"{pattern}\"]}}}}";
        Assert.True(RuntimePolicy.TryParse(Encoding.UTF8.GetBytes(text), out var policy, out var error), error);
        Assert.Contains(policy.Warnings, w => w.StartsWith("$.excludes[0]", StringComparison.Ordinal));
        Assert.Contains(Parse(text).Lint(), l => l.Code == "violations.matches_everything");
    }

    [Fact]
    public void What_a_proposal_adds_admits_what_was_objected_to()
    {
        using var tpm = new SoftwareTpm(TpmAlgorithm.Ecdsa);
        var name = Gen.OneOf(Gen.Char['!', '~'], Gen.Const('é'), Gen.Const('\\'), Gen.Const('\u0001')).Array[1, 12].Select(c => "/p/" + new string(c).Replace('\n', '_'));
        Gen.Select(Gen.Int[0, 3], name).Array[1, 12].Sample(entries =>
        {
            var list = new List().Add("/bin/0");
            foreach (var (kind, path) in entries)
            {
                _ = kind switch
                {
                    0 => list.Add(path),
                    1 => list.Add(Encoding.UTF8.GetBytes("/bin/0"), List.DigestOf(path)),
                    2 => list.AddBuffer(path, Encoding.UTF8.GetBytes(path)),
                    _ => list.Violate(path),
                };
            }

            var document = new RuntimePolicyDocument();
            document.Allow("/bin/0", List.HexOf("/bin/0"));
            var before = Lists.Appraise(tpm, list, Policies.Parse(document.Write()));
            Assert.Equal(entries.Length, before.FindingCount);
            var proposal = RuntimePolicyProposal.From(before.Findings);
            Assert.Empty(proposal.Notes);
            proposal.ApplyTo(document);
            Assert.Equal("", Lists.Appraise(tpm, list, Policies.Parse(document.Write())).Codes());

            // And nothing beyond: each of its paths is one of those.
            Assert.All(proposal.Additions.Digests.Keys.Concat(proposal.Additions.Buffers.Keys), p => Assert.Contains(p, entries.Select(e => e.Item2).Append("/bin/0")));
            Assert.NotNull(JsonNode.Parse(proposal.ToJson()));
        }, iter: 200, threads: 1);
    }

    [Fact]
    public void A_proposal_says_what_no_list_admits()
    {
        var proposal = RuntimePolicyProposal.From(
            [
                new Finding(FindingCodes.ImaPcrMismatch, "No line leads to it."),
                new Finding(FindingCodes.ImaSignatureInvalid, "Signed wrongly.") { File = new MeasuredFile("/bin/x", "sha256:" + Sha256, [], 3) },
                new Finding(FindingCodes.ImaNotInPolicy, "No text.") { File = new MeasuredFile(@"/caf\xe9", "sha256:" + Sha256, [], 4) },
                new Finding(FindingCodes.ImaNotInPolicy, "Weak.") { File = new MeasuredFile("/bin/y", "md5:00", [], 4) },
                new Finding(FindingCodes.PcrNotQuoted, "Not of the list."),
            ]);
        Assert.True(proposal.IsEmpty);
        Assert.Equal(4, proposal.Notes.Length);
        Assert.Equal("{}", Encoding.UTF8.GetString(proposal.ToJson()).Trim());
    }

    private static RuntimePolicyDocument Parse(string text)
    {
        Assert.True(RuntimePolicyDocument.TryParse(Encoding.UTF8.GetBytes(text), out var document, out var error), error);
        return document;
    }

    // Digests of a path are a set.
    private static JsonNode Sorted(JsonNode node)
    {
        foreach (var (_, lists) in node["digests"]!.AsObject())
        {
            var digests = lists!.AsArray();
            var sorted = digests.Select(d => d!.GetValue<string>()).Order(StringComparer.Ordinal).ToArray();
            digests.Clear();
            foreach (var digest in sorted)
                digests.Add((JsonNode)digest);
        }

        return node;
    }
}
