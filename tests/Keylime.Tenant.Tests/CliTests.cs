using System.Text;
using System.Text.Json.Nodes;
using Keylime.Attestation;

namespace Keylime.Tenant.Tests;

/// <summary>Every command, its exit codes, and what it prints.</summary>
public sealed class CliTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Login_is_kept_for_its_owner_only_and_then_used()
    {
        await using var bench = await Bench.StartAsync(r => r == "GET /health" ? (200, """{"status":"ok","version":"0.1.0","store":"sqlite"}""") : (200, """{"nodes":[]}"""), login: false);
        Assert.Equal(Exits.Refused, (await bench.RunAsync("node", "list")).Exit);

        var (exit, text, _) = await bench.RunAsync("login", "--url", bench.Url, "--ca", bench.PathOf("ca.pem"), "--token-file", bench.PathOf("token"));
        Assert.Equal(0, exit);
        Assert.Contains("Logged in", text, StringComparison.Ordinal);
        Assert.Equal((UnixFileMode)0b110_000_000, File.GetUnixFileMode(bench.LoginPath));
        File.Delete(bench.PathOf("token")); // it is in the login now
        Assert.Equal(0, (await bench.RunAsync("node", "list")).Exit);
        Assert.All(bench.Requests, r => Assert.Equal("Bearer " + Bench.Token, r.Authorization));
    }

    [Fact]
    public async Task A_login_that_the_service_refuses_is_not_kept()
    {
        await using var bench = await Bench.StartAsync(r => r == "GET /health" ? (200, """{"status":"ok","version":"0.1.0","store":"sqlite"}""") : (401, Bench.Problem(401, "no")), login: false);
        Assert.Equal(Exits.Refused, (await bench.RunAsync("login", "--url", bench.Url, "--ca", bench.PathOf("ca.pem"), "--token-file", bench.PathOf("token"))).Exit);
        Assert.False(File.Exists(bench.LoginPath));
    }

    [Fact]
    public async Task Another_CA_is_not_trusted()
    {
        await using var bench = await Bench.StartAsync(_ => (200, """{"nodes":[]}"""));
        await using var other = await Bench.StartAsync(_ => (200, "{}"));
        bench.Set("KEYLIME_CA", other.PathOf("ca.pem"));
        var (exit, _, error) = await bench.RunAsync("node", "list");
        Assert.Equal(Exits.Failed, exit);
        Assert.Contains("certificate", error, StringComparison.Ordinal);
        Assert.Empty(bench.Requests);
    }

    [Fact]
    public async Task Pages_are_joined()
    {
        await using var bench = await Bench.StartAsync(r => r.Contains("after=x", StringComparison.Ordinal)
            ? (200, $$"""{"nodes":[{{Bench.Node("a")}}]}""") : (200, $$"""{"nodes":[{{Bench.Node("b", "failed")}}],"next":"x"}"""));
        var (exit, text, _) = await bench.RunAsync("node", "list", "--json");
        Assert.Equal(0, exit);
        Assert.Equal(["a", "b"], JsonNode.Parse(text)!["nodes"]!.AsArray().Select(n => n!["id"]!.GetValue<string>()));
        Assert.Null(JsonNode.Parse(text)!["next"]);

        var table = (await bench.RunAsync("node", "list")).Out;
        foreach (var word in (string[])["ek-certificate", "trusted", "failed", "30 s ago", "in 30 s"])
            Assert.Contains(word, table, StringComparison.Ordinal);
        Assert.Equal(0, (await bench.RunAsync("node", "list", "--state", "failed")).Exit);
        Assert.Contains(bench.Requests, r => r.Request.Contains("state=failed", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Enrolment_says_what_was_given()
    {
        await using var bench = await Bench.StartAsync(_ => (201, Bench.Details("a")));
        var (exit, text, _) = await bench.RunAsync("node", "enrol", "a", "--policy", "p", "--pcr", "7=00", "--pcr", "7=11", "--interval", "30", "--ak-name", "000b", "--json");
        Assert.Equal(0, exit);
        Assert.Equal("a", JsonNode.Parse(text)!["node"]!["id"]!.GetValue<string>());
        var sent = JsonNode.Parse(bench.Requests.Single().Body)!;
        Assert.Equal("PUT /v1/nodes/a", bench.Requests.Single().Request);
        Assert.Equal(("p", 30, "000b"), (sent["runtimePolicy"]!.GetValue<string>(), sent["intervalSeconds"]!.GetValue<int>(), sent["attestationKeyName"]!.GetValue<string>()));
        Assert.Equal(["00", "11"], sent["pcrs"]!["7"]!.AsArray().Select(v => v!.GetValue<string>()));
    }

    [Fact]
    public async Task A_node_is_shown_whole_and_harmless()
    {
        await using var bench = await Bench.StartAsync(_ => (200, Bench.Details("a").Replace("\"Line 3\",\"path\"", "\"\\u001b[31m\\u202eLine 3\\u0007\",\"path\"", StringComparison.Ordinal)));
        var (exit, text, _) = await bench.RunAsync("node", "show", "a");
        Assert.Equal(0, exit);
        foreach (var word in (string[])["ima.not_in_policy", "sha256:00", "and 1 more", "rsa-2048", "PCR 7", @"\u{1b}[31m\u{202e}Line 3\u{7}"])
            Assert.Contains(word, text, StringComparison.Ordinal);
        Assert.DoesNotContain(text, c => c is '\u001b' or '\u202e' or '\u0007');
    }

    [Fact]
    public async Task History_and_events_and_retiring()
    {
        await using var bench = await Bench.StartAsync(r => (200, r switch
        {
            "POST /v1/nodes/a/retire" => Bench.Details("a"),
            "GET /v1/nodes/a/events?limit=5" => """{"events":[{"id":"1","at":"2026-11-24T11:00:00Z","type":"node.failed","node":"a","detail":"why"}]}""",
            _ => """{"verdicts":[{"attestation":6,"at":"2026-11-24T11:59:30Z","evaluation":"pass","coverage":{"identity":"ek-key","boot":"none","runtime":"ima"},"findings":[],"findingCount":0,"attestationKeyName":"000b00"}]}""",
        }));
        Assert.Contains("node.failed  why", (await bench.RunAsync("node", "events", "a", "--limit", "5")).Out, StringComparison.Ordinal);
        Assert.Contains("pass", (await bench.RunAsync("node", "verdicts", "a")).Out, StringComparison.Ordinal);
        Assert.Equal(6, JsonNode.Parse((await bench.RunAsync("node", "verdicts", "a", "--json")).Out)!["verdicts"]![0]!["attestation"]!.GetValue<int>());
        Assert.Equal(0, (await bench.RunAsync("node", "retire", "a")).Exit);
    }

    [Fact]
    public async Task Policies()
    {
        const string summary = """{"name":"p","digest":"ab","size":2,"paths":1,"excludes":0,"warnings":["careful"],"updatedAt":"2026-11-24T11:00:00Z"}""";
        await using var bench = await Bench.StartAsync(r => r switch
        {
            "PUT /v1/policies/p" => (201, summary),
            "GET /v1/policies/p" => (200, "{ \"as\": \"it is\" }"),
            "DELETE /v1/policies/p" => (204, ""),
            _ => (200, $$"""{"policies":[{{summary}}]}"""),
        });
        bench.In = "{}"u8.ToArray();
        var put = await bench.RunAsync("policy", "put", "p", "-");
        Assert.Equal((0, "warning: careful\n"), (put.Exit, put.Error));
        Assert.Equal("{}", bench.Requests.Single().Body);
        Assert.Equal("{ \"as\": \"it is\" }", (await bench.RunAsync("policy", "get", "p")).Out);
        Assert.Contains("ab", (await bench.RunAsync("policy", "list")).Out, StringComparison.Ordinal);
        Assert.Equal("p", JsonNode.Parse((await bench.RunAsync("policy", "list", "--json")).Out)!["policies"]![0]!["name"]!.GetValue<string>());
        Assert.Equal(0, (await bench.RunAsync("policy", "delete", "p")).Exit);
        Assert.Equal(Exits.Usage, (await bench.RunAsync("policy", "put", "p", bench.PathOf("nothing"))).Exit);
    }

    [Fact]
    public async Task A_policy_is_made_of_a_list()
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        var hash = new string('1', 40);
        await File.WriteAllTextAsync(bench.PathOf("list"),
            $"10 {hash} ima-ng sha256:{new string('a', 64)} boot_aggregate\n10 {hash} ima-ng sha256:{new string('b', 64)} /bin/with space\n"
            + $"10 {hash} ima-sig sha256:{new string('c', 64)} /bin/signed 0302\n10 {hash} ima-sig sha256:{new string('d', 64)} /bin/signed \n"
            + $"10 {new string('0', 40)} ima-ng sha256:{new string('0', 64)} /var/log/x\n", Cancel);
        var made = await bench.RunAsync("policy", "make", "--from-log", bench.PathOf("list"), "--exclude", "/tmp/.*");
        Assert.Equal(0, made.Exit);
        Assert.Contains("violation", made.Error, StringComparison.Ordinal);
        Assert.True(RuntimePolicy.TryParse(Encoding.UTF8.GetBytes(made.Out), out var policy, out var error), error);
        Assert.Equal((3, 1), (policy.Paths, policy.Excludes));
        Assert.Empty(policy.Warnings);
        Assert.Equal(2, JsonNode.Parse(made.Out)!["digests"]!["/bin/signed"]!.AsArray().Count);

        foreach (var text in (string[])["", "nonsense\n", $"10 {hash} ima-buf sha256:00 x\n", $"10 00 ima-ng sha256:00 /x\n"])
        {
            await File.WriteAllTextAsync(bench.PathOf("list"), text, Cancel);
            Assert.Equal(Exits.Usage, (await bench.RunAsync("policy", "make", "--from-log", bench.PathOf("list"))).Exit);
        }

        Assert.Empty(bench.Requests);
    }

    [Fact]
    public async Task Watching_once()
    {
        await using var bench = await Bench.StartAsync(_ => (200, $$"""{"nodes":[{{Bench.Node("a", "silent", "No evidence.")}}]}"""));
        Assert.Contains("silent", (await bench.RunAsync("watch", "--once")).Out, StringComparison.Ordinal);
        Assert.Equal("silent", JsonNode.Parse((await bench.RunAsync("watch", "--once", "--json")).Out)!["nodes"]![0]!["state"]!.GetValue<string>());
    }

    [Theory]
    [InlineData(404, Exits.NotFound)]
    [InlineData(401, Exits.Refused)]
    [InlineData(403, Exits.Refused)]
    [InlineData(409, Exits.Conflict)]
    [InlineData(400, Exits.Failed)]
    [InlineData(503, Exits.Failed)]
    [InlineData(307, Exits.Failed)]
    public async Task What_the_service_says_becomes_an_exit_code_and_two_lines(int status, int exit)
    {
        await using var bench = await Bench.StartAsync(_ => (status, status < 400 ? "" : Bench.Problem(status, "what is \u001b wrong", "do this")));
        var told = await bench.RunAsync("node", "show", "a");
        Assert.Equal(exit, told.Exit);
        if (status >= 400)
            Assert.Equal("error: what is \\u{1b} wrong\nhint: do this\n", told.Error);
    }

    [Theory]
    [InlineData("node", "show")]
    [InlineData("node", "show", "a/b")]
    [InlineData("node", "list", "--state", "good")]
    [InlineData("node", "enrol", "a", "--pcr", "seven")]
    [InlineData("node", "enrol", "a", "--interval", "soon")]
    [InlineData("policy", "get", "..")]
    [InlineData("fly")]
    [InlineData("--colour")]
    [InlineData("login", "--url", "http://x", "--ca", "x", "--token-file", "x")]
    [InlineData("watch", "--interval", "0")]
    public async Task Wrong_use_is_exit_code_2(params string[] args)
    {
        await using var bench = await Bench.StartAsync(_ => (200, "{}"));
        Assert.Equal(Exits.Usage, (await bench.RunAsync(args)).Exit);
        Assert.Empty(bench.Requests);
    }

    [Fact]
    public async Task A_service_that_is_not_there_or_not_ours()
    {
        await using var bench = await Bench.StartAsync(_ => (200, "<html>"));
        Assert.Equal(Exits.Failed, (await bench.RunAsync("node", "list")).Exit);
        bench.Set("KEYLIME_URL", "https://127.0.0.1:1");
        var (exit, _, error) = await bench.RunAsync("node", "list");
        Assert.Equal(Exits.Failed, exit);
        Assert.Contains("https://127.0.0.1:1", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Help_names_every_command()
    {
        await using var bench = await Bench.StartAsync(_ => (200, "{}"));
        var (exit, text, _) = await bench.RunAsync("--help");
        Assert.Equal(0, exit);
        foreach (var command in (string[])["login", "node", "policy", "watch", "--json"])
            Assert.Contains(command, text, StringComparison.Ordinal);
    }
}
