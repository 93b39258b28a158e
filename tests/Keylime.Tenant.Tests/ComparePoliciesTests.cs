using System.Text;
using System.Text.Json.Nodes;
using Keylime.Attestation;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Tenant.Tests;

/// <summary><c>keylime policy merge</c>, <c>diff</c>, <c>lint</c> and <c>test</c>.</summary>
public sealed class ComparePoliciesTests
{
    private static readonly string A = new('a', 64);
    private static readonly string B = new('b', 64);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_any_of_them_allows_is_in_the_merged_policy_and_settings_that_lose_are_told()
    {
        await using var bench = await Bench.StartAsync(r => r == "GET /v1/policies/web" ? (200, Runtime($"\"/bin/web\":[\"{A}\"]")) : (404, Bench.Problem(404, "no")));
        var local = await WriteAsync(bench, "local.json", Runtime($"\"/bin/web\":[\"{B}\"],\"/bin/new\":[\"{B}\"]", "\"violations\":{\"budget\":1,\"paths\":[\"/var/log/.*\"]},", hash: "sha256"));
        var more = await WriteAsync(bench, "more.json", """{"violations":{"budget":0,"paths":["/var/lib/x$"]},"excludes":["/tmp/.*"]}""");
        var (exit, text, notes) = await bench.RunAsync("policy", "merge", "web", local, more);
        Assert.Equal((0, $"note: {local}: $.ima.log_hash_alg: sha1 is kept, and sha256 is not.\n"), (exit, notes));
        var merged = JsonNode.Parse(text)!;
        Assert.Equal([A, B], merged["digests"]!["/bin/web"]!.AsArray().Select(d => d!.GetValue<string>()));
        Assert.Equal(B, merged["digests"]!["/bin/new"]![0]!.GetValue<string>());
        Assert.Equal(["/var/log/.*", "/var/lib/x$"], merged["violations"]!["paths"]!.AsArray().Select(p => p!.GetValue<string>()));
        Assert.Equal((1, "/tmp/.*"), (merged["violations"]!["budget"]!.GetValue<int>(), merged["excludes"]![0]!.GetValue<string>()));
        Assert.True(RuntimePolicy.TryParse(Encoding.UTF8.GetBytes(text), out _, out var error), error);

        Assert.Equal(0, (await bench.RunAsync("policy", "merge", "web", local, more, "--out", bench.PathOf("all.json"))).Exit);
        Assert.Equal(text, await File.ReadAllTextAsync(bench.PathOf("all.json"), Cancel));
        Assert.Equal((0, ""), await OfDiffAsync(bench, bench.PathOf("all.json"), bench.PathOf("all.json")));
    }

    [Fact]
    public async Task Runtime_policies_differ_in_sentences()
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        var before = await WriteAsync(bench, "before.json", Runtime($"\"/a\":[\"{A}\"],\"/b\":[\"{A}\"]"));
        var after = await WriteAsync(bench, "after.json", Runtime($"\"/a\":[\"{A}\",\"{B}\"],\"/\\u001b\":[\"{A}\"]", "\"violations\":{\"budget\":2},").Replace("\"excludes\":[]", "\"excludes\":[\"/tmp/.*\"]", StringComparison.Ordinal));
        var (exit, text) = await OfDiffAsync(bench, before, after);
        Assert.Equal(1, exit);
        Assert.Equal(
            $"""
            /\u{"{1b}"} is new, with the digest {A}.
            /a may also have the digest {B}.
            /b is gone; it had the digest {A}.
            $.excludes has: /tmp/.*.
            $.violations.budget is set: 2.

            """, text);
        Assert.Equal((0, ""), await OfDiffAsync(bench, before, before));
    }

    [Fact]
    public async Task Boot_policies_differ_in_sentences_too()
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        var before = await BootAsync(bench, "before", BootLogBuilder.Debian(TpmAlgorithm.Sha256));
        var after = await BootAsync(bench, "after", BootLogBuilder.Debian(TpmAlgorithm.Sha256).GrubCommand("set x=1"));
        var (exit, text) = await OfDiffAsync(bench, before, after);
        Assert.Equal((1, "loader commands: +1 text (set x=1)\n"), (exit, text));
        Assert.Equal((0, ""), await OfDiffAsync(bench, after, after));
        var reference = await BootAsync(bench, "keylime", BootLogBuilder.Debian(TpmAlgorithm.Sha256), "--format", "keylime");
        Assert.StartsWith("The first is event rules, the second a reference state of Keylime.\n", (await OfDiffAsync(bench, before, reference)).Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Lint_says_what_is_wrong_and_what_is_unwise_of_every_kind()
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        await SaysAsync(Runtime($"\"/a\":[\"{A}\"]"), 0, "Nothing speaks against it.");
        await SaysAsync(Runtime($"\"/a\":[\"{A}\"]").Replace("\"excludes\":[]", "\"excludes\":[\"/.*\",\"tmp/x\"]", StringComparison.Ordinal), 1,
            "warning: $.excludes[0]: '/.*' matches every path: nothing that the policy does not list is judged. (exclude.matches_everything)",
            "warning: $.excludes[1]: 'tmp/x' does not start with '/', and paths do: it can never match one. (exclude.never_matches)");
        await SaysAsync(Runtime("\"/a\":[\"00\"]"), 1, "error: $.digests['/a']: '00' is no digest");
        await SaysAsync("""{"layers":[{"policy":"web-2"},{"policy":"web-1","until":"2026-12-08T00:00:00Z"}]}""", 0, "Nothing speaks against it.");
        await SaysAsync("""{"layers":[]}""", 1, "error: $.layers");
        var boot = await BootAsync(bench, "boot", BootLogBuilder.Debian(TpmAlgorithm.Sha256));
        await SaysAsync(await File.ReadAllTextAsync(boot, Cancel), 0, "Nothing speaks against it.");
        await SaysAsync((await File.ReadAllTextAsync(boot, Cancel)).Replace("\"secure-boot\": \"on\"", "\"secure-boot\": \"perhaps\"", StringComparison.Ordinal), 1, "error: $.events.secure-boot");

        async Task SaysAsync(string policy, int exit, params string[] lines)
        {
            bench.In = Encoding.UTF8.GetBytes(policy);
            var said = await bench.AskAsync("policy", "lint", "-");
            Assert.Equal((exit, ""), (said.Exit, said.Error));
            Assert.Equal(lines.Length, said.Out.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
            Assert.All(lines, line => Assert.Contains(line, said.Out, StringComparison.Ordinal));
        }
    }

    [Theory]
    [InlineData("boot", "a boot policy")]
    [InlineData("layers", "a list of layers")]
    [InlineData("truncated", "LineNumber: 0")]
    [InlineData("list", "$")]
    [InlineData("empty", "does not contain any JSON")]
    [InlineData("envelope", "$.payload")]
    public async Task What_is_no_runtime_policy_is_neither_merged_nor_compared_and_nothing_is_written(string kind, string says)
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        var good = await WriteAsync(bench, "good.json", Runtime($"\"/a\":[\"{A}\"]"));
        var bad = kind == "boot" ? await BootAsync(bench, "bad.json", BootLogBuilder.Debian(TpmAlgorithm.Sha256)) : await WriteAsync(bench, "bad.json", kind switch
        {
            "layers" => """{"layers":[{"policy":"web"}]}""",
            "truncated" => Runtime($"\"/a\":[\"{A}\"]")[..^9],
            "list" => "[]",
            "envelope" => """{"payload":7}""",
            _ => "",
        });
        foreach (var args in (string[][])[["merge", good, bad], ["merge", bad, good], ["diff", good, bad], ["diff", bad, good]])
        {
            var (exit, text, error) = await bench.RunAsync(["policy", .. args, .. args[0] == "merge" ? (string[])["--out", bench.PathOf("out.json")] : []]);
            Assert.Equal((Exits.Usage, ""), (exit, text));
            if (args[0] == "merge")
                Assert.Contains(says, error, StringComparison.Ordinal);
        }

        Assert.Equal(["bad.json", "ca.pem", "good.json", "token"], Directory.GetFiles(bench.Folder).Select(Path.GetFileName).Order());
    }

    [Fact]
    public async Task Trials_come_in_pages_and_are_counted_together()
    {
        const string fail = """{"node":"b","outcome":"fail","attestation":7,"findings":[{"code":"ima.not_in_policy","detail":"Line 3"}],"findingCount":2}""";
        await using var bench = await Bench.StartAsync(r => r switch
        {
            "POST /v1/policy-drafts" => (200, """{"digest":"ab","kind":"runtime","warnings":["careful"]}"""),
            "GET /v1/policy-drafts/ab/trials?limit=20" => (200, """{"trials":[{"node":"a","outcome":"pass","attestation":3,"findings":[],"findingCount":0},{"node":"c","outcome":"no-evidence","findings":[],"findingCount":0}],"next":"n/"}"""),
            "GET /v1/policy-drafts/ab/trials?limit=20&after=n%2F" => (200, $$"""{"trials":[{{fail}}]}"""),
            _ => (404, Bench.Problem(404, r)),
        });
        var policy = await WriteAsync(bench, "policy.json", Runtime($"\"/a\":[\"{A}\"]"));
        var (exit, text, error) = await bench.AskAsync("policy", "test", policy, "--all");
        Assert.Equal((TrialCommands.WouldFail, "warning: careful\n2 nodes tried …\n"), (exit, error));
        Assert.Equal("would fail 1 of 2:\nb (attestation 7)\n  ima.not_in_policy: Line 3\n  … and 1 more\n1 have no evidence that it could judge, which says nothing for them\n", text);
    }

    [Theory]
    [InlineData("merge", "{missing}", "{good}")]
    [InlineData("diff", "{good}", "{missing}")]
    [InlineData("lint", "{missing}")]
    [InlineData("test", "{missing}", "--all")]
    public async Task A_file_that_is_not_there_is_told_as_one(params string[] args)
    {
        await using var bench = await Bench.StartAsync(_ => (404, Bench.Problem(404, "there is no policy of that name")));
        var good = await WriteAsync(bench, "good.json", Runtime($"\"/a\":[\"{A}\"]"));
        foreach (var (missing, expected) in ((string, int)[])[(bench.PathOf("no/such.json"), Exits.Usage), ("such.json", Exits.NotFound)])
        {
            var (exit, _, error) = await bench.RunAsync(["policy", .. args.Select(a => a == "{missing}" ? missing : a == "{good}" ? good : a)]);
            Assert.Equal(expected, exit);
            Assert.Contains(expected == Exits.Usage ? "Could not find" : "there is no file such.json here; as a policy of the service: there is no policy of that name", error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task What_cannot_be_written_leaves_nothing_behind()
    {
        await using var bench = await Bench.StartAsync(_ => (200, "bytes"));
        var good = await WriteAsync(bench, "good.json", Runtime($"\"/a\":[\"{A}\"]"));
        Directory.CreateDirectory(bench.PathOf("folder"));
        foreach (var target in (string[])[bench.PathOf("folder"), bench.PathOf("no/such")])
        {
            Assert.Equal(Exits.Failed, (await bench.RunAsync("policy", "merge", good, good, "--out", target)).Exit);
            Assert.Equal(Exits.Failed, (await bench.RunAsync("node", "boot-log", "a", "--out", target)).Exit);
            Assert.Equal(Exits.Failed, (await bench.RunAsync("node", "measurement-list", "a", "--out", target)).Exit);
        }

        Assert.Equal(["ca.pem", "good.json", "token"], Directory.GetFiles(bench.Folder).Select(Path.GetFileName).Order());
    }

    internal static string Runtime(string digests, string more = "", string hash = "sha1") => $$$"""
        {"meta":{"version":1,"generator":3},"release":0,"digests":{{{{digests}}}},"excludes":[],"keyrings":{},{{{more}}}"ima":{"ignored_keyrings":[],"log_hash_alg":"{{{hash}}}","dm_policy":null},"ima-buf":{},"verification-keys":""}
        """;

    internal static async Task<string> WriteAsync(Bench bench, string name, string text)
    {
        await File.WriteAllTextAsync(bench.PathOf(name), text, Cancel);
        return bench.PathOf(name);
    }

    private static async Task<string> BootAsync(Bench bench, string name, BootLogBuilder log, params string[] args)
    {
        await File.WriteAllBytesAsync(bench.PathOf("log"), log.Build(), Cancel);
        Assert.Equal(0, (await bench.RunAsync(["policy", "create", "boot", bench.PathOf("log"), "--out", bench.PathOf(name), .. args])).Exit);
        File.Delete(bench.PathOf("log"));
        return bench.PathOf(name);
    }

    private static async Task<(int Exit, string Text)> OfDiffAsync(Bench bench, string before, string after)
    {
        var (exit, text, error) = await bench.AskAsync("policy", "diff", before, after);
        Assert.Equal("", error);
        return (exit, text);
    }
}
