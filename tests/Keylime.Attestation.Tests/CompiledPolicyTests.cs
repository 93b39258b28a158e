using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using CsCheck;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>The compiled form of a policy: it judges as its text does, whatever the policy and the list; and what is none is refused.</summary>
public sealed class CompiledPolicyTests : IDisposable
{
    private static readonly byte[] TextDigest = SHA256.HashData("a text"u8);

    // Few enough that an entry often meets what a policy lists, alike enough that one is not told from another by its end or its start.
    private static readonly Gen<string> Path = Gen.OneOf(
        "/usr/bin/a", "/usr/bin/b", "/usr/bin/aa", "/usr/lib/a", "/usr/lib/x/a", "a", "/", "/usr/bin/", "/tmp/a", "/usr//bin/a", "/usr/bin/é", "/usr/bin/" + new string('n', 200),
        "boot_aggregate", "memfd:a", "/usr/bin/a.dpkg-new", "/usr/bin/b.dpkg-tmp");

    private static readonly Gen<string> Digest = Gen.Select(Gen.Int[0, 5], Gen.OneOf(20, 28, 32, 32, 32, 48, 64), (of, size) => Convert.ToHexStringLower(SHA512.HashData([(byte)of])[..size]));

    private static readonly Gen<JsonObject> ListsOf = Gen.Select(Path, Digest.Array[1, 4]).Array[0, 12].Select(all => new JsonObject(
        all.DistinctBy(p => p.Item1).Select(p => KeyValuePair.Create(p.Item1, (JsonNode?)new JsonArray([.. p.Item2.Select(d => (JsonNode)d)])))));

    private static readonly Gen<byte[]> PolicyText = Gen.Select(
        ListsOf, ListsOf, ListsOf,
        Gen.OneOf("/tmp/.*", "/usr/bin/a+$", "memfd:", "/", ".*lib.*").Array[0, 3],
        Gen.OneOf("", "", """{"budget":1,"paths":["/usr/lib/"]}"""),
        Gen.OneOf("", """{"memfd":{"mode":"allow"}}""", """{"dpkg-temporary":{"mode":"allow","reason":"r"},"boot_aggregate":{"mode":"allow","reason":"é"}}"""),
        Gen.OneOf("", ".ima", "*"),
        Gen.Bool).Select((digests, keyrings, buffers, excludes, violations, rules, ignored, odd) =>
        {
            var text = JsonNode.Parse(Policies.TextWith("""{"digests":{"/fixed":["0000000000000000000000000000000000000000"]}}"""))!.AsObject();
            foreach (var (path, list) in digests)
                text["digests"]![path] = list!.DeepClone();
            (text["keyrings"], text["ima-buf"]) = (keyrings, buffers);
            text["excludes"] = new JsonArray([.. excludes.Select(e => (JsonNode)e)]);
            if (violations.Length > 0)
                text["violations"] = JsonNode.Parse(violations);
            if (rules.Length > 0)
                text["class-rules"] = JsonNode.Parse(rules);
            if (ignored.Length > 0)
                text["ima"]!["ignored_keyrings"] = new JsonArray(ignored);
            if (odd)
                (text["provenance"], text["unknown\n"]) = (new JsonObject { ["/usr/bin/a"] = "a 1" }, 1);
            return Encoding.UTF8.GetBytes(text.ToJsonString());
        });

    private static readonly Gen<List> SomeList = Gen.Select(Gen.Int[0, 9], Path, Digest).Array[1, 12].Select(entries =>
    {
        var list = new List();
        foreach (var (kind, path, digest) in entries)
        {
            var hash = digest.Length switch { 40 => "sha1", 56 => "sha224", 64 => "sha256", 96 => "sha384", _ => "sha512" };
            _ = kind switch
            {
                0 => list.Violate(path),
                1 => list.AddBuffer(path, [1, 2, 3]),
                2 => list.AddBuffer(".ima", FileKeys.P256.ExportSubjectPublicKeyInfo()),
                3 => list.Add("ima-ng", ("d-ng", "sha3-256:" + digest), ("n-ng", path)), // a name that the digest's length has to agree with
                _ => list.Add("ima-ng", ($"d-ng", $"{hash}:{digest}"), ("n-ng", path)),
            };
        }

        return list;
    });

    private readonly SoftwareTpm _tpm = new(TpmAlgorithm.Ecdsa);

    public void Dispose() => _tpm.Dispose();

    public static RuntimePolicy Reopen(RuntimePolicy policy, DsseSeal? seal = null)
    {
        Assert.True(RuntimePolicy.TryOpen(policy.Compile(TextDigest, seal), TextDigest, out var opened, out var error), error);
        return opened;
    }

    [Fact]
    public void It_judges_as_the_text_does()
    {
        var met = new HashSet<string>();
        var accepted = default(ImaTally);
        Gen.Select(PolicyText, PolicyText, SomeList).Sample((text, other, list) =>
        {
            var (plain, base2) = (Policies.Parse(text), Policies.Parse(other));
            var compiled = Reopen(plain);
            Assert.Equal((plain.Paths, plain.Excludes, plain.LogHash), (compiled.Paths, compiled.Excludes, compiled.LogHash));
            Assert.Equal(plain.Warnings, compiled.Warnings);
            Assert.Equal(plain.ClassRules, compiled.ClassRules);
            Assert.Equal(plain.Compile(TextDigest, null), compiled.Compile(TextDigest, null));

            var quote = list.QuoteAfter(_tpm, list.Lines.Count);
            var expected = Lists.Appraise(quote, list.Text, null, plain);
            Assert.Equal(Describe(expected), Describe(Lists.Appraise(quote, list.Text, null, compiled)));
            met.UnionWith(expected.Findings.Select(f => f.Code));
            accepted = Sum(accepted, expected.Tally);
            foreach (var until in (DateTimeOffset?[])[null, Lists.At])
                Assert.Equal(Describe(Lists.Appraise(quote, list.Text, null, Layered(plain, base2, until))), Describe(Lists.Appraise(quote, list.Text, null, Layered(compiled, Reopen(base2), until))));
        }, iter: 300, threads: 1); // there is one TPM

        // Nothing is equal for never having been met.
        Assert.Superset(new HashSet<string>
        {
            FindingCodes.ImaNotInPolicy, FindingCodes.ImaDigestNotAllowed, FindingCodes.ImaViolation, FindingCodes.ImaViolationBudget, FindingCodes.ImaKeyNotAllowed,
            FindingCodes.ImaKeyMalformed, FindingCodes.ImaBufferNotAllowed,
        }, met);
        Assert.True(accepted is { Digests: > 0, Excluded: > 0, ClassRules: > 0, Keys: > 0, Violations: > 0 }, $"{accepted}");
    }

    private static ImaTally Sum(ImaTally one, ImaTally other) => new(
        one.Digests + other.Digests, one.Signatures + other.Signatures, one.Excluded + other.Excluded, one.ClassRules + other.ClassRules,
        one.Keys + other.Keys, one.Buffers + other.Buffers, one.Devices + other.Devices, one.Violations + other.Violations);

    // The table is the same in both forms: here it is held against a dictionary.
    [Fact]
    public void A_table_holds_what_was_added_and_nothing_else()
    {
        var path = Gen.Select(Gen.OneOf("", "/", "/a/", "/a/b/", "/b/", "a/"), Gen.Int[0, 40].Select(i => $"{i}"), (folder, name) => Encoding.UTF8.GetBytes(folder + name));
        var digest = Gen.Select(Gen.Byte, Gen.OneOf(16, 20, 32), (of, size) => Enumerable.Repeat(of, size).ToArray());
        Gen.Select(path, digest.Array[1, 3]).Array[0, 200].Sample(added =>
        {
            var expected = new Dictionary<string, byte[][]>();
            var builder = new DigestTableBuilder();
            foreach (var (name, digests) in added)
            {
                if (!expected.TryAdd(Convert.ToHexString(name), digests))
                    continue;
                builder.AddPath(name);
                foreach (var one in digests)
                    builder.AddDigest(one);
            }

            var table = builder.Build()!;
            Assert.Equal(expected.Count, table.Count);
            foreach (var folder in (string[])["", "/", "/a/", "/a/b/", "/b/", "a/", "//", "/a"])
            {
                for (var i = 0; i <= 40; i++)
                {
                    var name = Encoding.UTF8.GetBytes($"{folder}{i}");
                    var found = table.Find(name);
                    Assert.Equal(expected.TryGetValue(Convert.ToHexString(name), out var digests), found >= 0);
                    if (found >= 0)
                        Assert.Equal(digests!.Select(Convert.ToHexStringLower), table.Describe(found).Select(d => d.Split(':')[1]));
                    foreach (var size in (int[])[16, 20, 32])
                    {
                        var one = Enumerable.Repeat((byte)i, size).ToArray();
                        Assert.Equal(digests?.Any(d => d.AsSpan().SequenceEqual(one)) == true, table.Contains(name, [], one));
                        Assert.Equal(size == 32 && digests?.Any(d => d.AsSpan().SequenceEqual(one)) == true, table.Contains(name, "sha256"u8, one));
                    }
                }
            }

            byte[][] sought = [.. Enumerable.Range(0, 8).Select(i => Enumerable.Repeat((byte)i, 32).ToArray())];
            var paths = new string?[sought.Length];
            table.FindPaths([.. sought], paths);
            Assert.Equal(
                sought.Select(s => expected.Where(e => e.Value.Any(d => d.AsSpan().SequenceEqual(s))).Select(e => Encoding.UTF8.GetString(Convert.FromHexString(e.Key))).Order(StringComparer.Ordinal).FirstOrDefault()),
                paths);
        }, iter: 100);

        var twice = new DigestTableBuilder();
        twice.AddPath("/a/b"u8);
        twice.AddPath("/a/c"u8);
        twice.AddPath("/a/b"u8);
        Assert.Null(twice.Build());
    }

    [Fact]
    public void Any_bytes_are_refused_or_a_policy_with_which_judging_ends()
    {
        var list = new List().Add("/usr/bin/a").Add("/usr/bin/b").AddBuffer("k", [1]).Violate("/v");
        var quote = list.QuoteAfter(_tpm, 4);
        Assert.False(RuntimePolicy.TryOpen(default, TextDigest, out _, out _));
        Gen.Byte.Array[0, 300].Sample(bytes => Assert.False(RuntimePolicy.TryOpen(bytes, TextDigest, out _, out _)), iter: 300);

        var (opened, refused, broken) = (0, 0, 0);
        var change = Gen.Select(Gen.Int[0, 100_000], Gen.OneOf(Gen.Byte, Gen.OneOf<byte>(0, 0x7F, 0x80, 0xFF)));
        Gen.Select(PolicyText, change.Array[1, 4], Gen.OneOf(0, 0, 0, 1, 100)).Sample((text, changes, cut) =>
        {
            var bytes = Policies.Parse(text).Compile(TextDigest, null);
            bytes = bytes[..Math.Max(0, bytes.Length - cut)];
            foreach (var (at, to) in changes.Where(_ => bytes.Length > 0))
                bytes[at % bytes.Length] = to;
            if (!RuntimePolicy.TryOpen(bytes, TextDigest, out var policy, out var error))
            {
                Assert.NotEmpty(error);
                Interlocked.Increment(ref refused);
                return;
            }

            Interlocked.Increment(ref opened);
            try
            {
                _ = ImaLog.Appraise(quote, list.Text, ImaListFormat.Text, null, policy, Lists.At);
            }
            catch (CompiledPolicyException)
            {
                Interlocked.Increment(ref broken);
            }
        }, iter: 2000);
        Assert.True(opened > 100 && refused > 100 && broken > 10, $"{opened} opened, {refused} refused, {broken} broken"); // each was met
    }

    [Fact]
    public void It_is_of_one_text_and_one_version()
    {
        var bytes = Policies.Allowing("/bin/0").Compile(TextDigest, null);
        Assert.False(RuntimePolicy.TryOpen(bytes, SHA256.HashData("another text"u8), out _, out var error));
        Assert.Contains("another text", error, StringComparison.Ordinal);
        bytes[8]++; // the version
        Assert.False(RuntimePolicy.TryOpen(bytes, TextDigest, out _, out error));
        Assert.Contains("format version", error, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(() => Layered(Policies.Allowing("/bin/0"), Policies.Allowing("/bin/1"), null).Compile(TextDigest, null));
    }

    [Fact]
    public void It_keeps_what_the_envelopes_signatures_are_verified_with()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        Assert.True(DsseSigner.TryCreate(key.ExportPkcs8PrivateKeyPem(), "", out var signer, out var error), error);
        using (signer)
        {
            var text = Policies.TextWith($$$"""{"digests":{"/bin/0":["{{{List.HexOf("/bin/0")}}}"]}}""");
            Assert.True(DsseEnvelope.TryParse(DsseEnvelope.Sign(DsseEnvelope.RuntimePolicyType, text, signer), out var envelope, out error), error);
            var seal = Reopen(Policies.Parse(text), DsseSeal.Of(envelope)).Seal!;
            Assert.True(SigningTrust.None.TryAdd("somebody", key.ExportSubjectPublicKeyInfo(), out var trust, out error), error);
            Assert.True(seal.TryVerify(trust, Lists.At, out var signers, out _));
            Assert.Equal("somebody", signers.Single().Name);

            using var other = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            Assert.True(SigningTrust.None.TryAdd("another", other.ExportSubjectPublicKeyInfo(), out trust, out error), error);
            Assert.False(seal.TryVerify(trust, Lists.At, out signers, out var why));
            Assert.Empty(signers);
            Assert.Contains("no trusted key made it", why, StringComparison.Ordinal);
        }
    }

    // 64 MB for a million: what a path costs beside its name and its digest must not grow.
    [Fact]
    public void A_path_costs_its_name_its_digest_and_a_few_bytes()
    {
        const int count = 20_000;
        var policy = Policies.Allowing([.. Enumerable.Range(0, count).Select(i => $"/usr/lib/x86_64-linux-gnu/package-{i % 700}/libexample-{i:d5}.so")]);
        var names = "libexample-00000.so".Length + SHA256.HashSizeInBytes;
        Assert.InRange(Reopen(policy).Compile(TextDigest, null).Length, names * count, (names + 10) * count);
    }

    private static RuntimePolicy Layered(RuntimePolicy first, RuntimePolicy second, DateTimeOffset? until)
    {
        Assert.True(RuntimePolicy.TryLayer([new PolicyLayer("first", first, null), new PolicyLayer("second", second, until)], out var policy, out var error), error);
        return policy;
    }

    public static string Describe(ImaResult result) =>
        $"{result.From} {result.To} {result.FindingCount} {result.Tally} {(result.Proven is { } proven ? Convert.ToHexString(proven.State.Encode()) : "")}\n{Describe(result.Findings)}";

    public static string Describe(ImmutableArray<Finding> findings) => string.Join('\n', findings.Select(f =>
        $"{f.Code} {f.Detail} {(f.File is { } file ? $"{file.Path} {file.Seen} [{string.Join(',', file.Allowed)}] {file.Line} {file.KnownAs} {file.Stale}" : "")}"));
}
