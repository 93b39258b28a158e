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
    public async Task Webhooks_are_added_listed_tried_rotated_replayed_and_removed()
    {
        const string hook = """{"name":"siem.example.org","webhook":{"url":"https://siem.example.org/k","events":["node.*","trust.changed"],"nodes":"rack-","severity":"warning"SECRET},"createdAt":"2026-11-24T12:00:00Z","createdBy":"token operator","updatedAt":"2026-11-24T12:00:00Z"}""";
        const string waiting = """{"deliveries":[{"id":"evt_1","type":"node.failed","subject":"a","at":"2026-11-24T12:00:00Z","state":"pending","attempts":3,"queuedAt":"2026-11-24T12:00:00Z","dueAt":"2026-11-24T12:05:00Z","error":"=no"}]}""";
        const string over = """{"deliveries":[{"id":"evt_0","type":"node.silent","subject":"b","at":"2026-11-24T11:00:00Z","state":"delivered","attempts":1,"queuedAt":"2026-11-24T11:00:00Z","status":204,"milliseconds":12}],"next":"x"}""";
        var delivered = "true";
        await using var bench = await Bench.StartAsync(r => r switch
        {
            "PUT /v1/webhooks/siem.example.org" or "PUT /v1/webhooks/w" or "POST /v1/webhooks/w/rotate" => (200, hook.Replace("SECRET", ",\"secret\":\"whsec_AAAA\"", StringComparison.Ordinal)),
            "GET /v1/webhooks" => (200, $$"""{"webhooks":[{{hook.Replace("SECRET", "", StringComparison.Ordinal)}}]}"""),
            "POST /v1/webhooks/w/test" => (200, $$"""{"delivered":{{delivered}},"milliseconds":7,"status":204}"""),
            "GET /v1/webhooks/w/pending?limit=5" => (200, waiting),
            "GET /v1/webhooks/w/deliveries?limit=5" => (200, over),
            "POST /v1/webhooks/w/replay?since=2026-11-24T12%3A00%3A00Z" => (202, """{"events":9}"""),
            "DELETE /v1/webhooks/w" => (204, ""),
            _ => (404, Bench.Problem(404, "none")),
        });
        Assert.Contains("whsec_AAAA (told once)", (await bench.RunAsync("webhook", "add", "https://siem.example.org/k", "--events", "node.*,trust.changed", "--nodes", "rack-", "--severity", "warning")).Out, StringComparison.Ordinal);
        var sent = JsonNode.Parse(bench.Requests.Last().Body)!;
        Assert.Equal(["node.*", "trust.changed"], sent["events"]!.AsArray().Select(static e => e!.GetValue<string>()));
        Assert.Equal(("https://siem.example.org/k", "rack-", "warning"), (sent["url"]!.GetValue<string>(), sent["nodes"]!.GetValue<string>(), sent["severity"]!.GetValue<string>()));
        Assert.Equal(0, (await bench.RunAsync("webhook", "add", "https://siem.example.org/k", "--name", "w")).Exit);
        Assert.Equal("""{"url":"https://siem.example.org/k"}""", bench.Requests.Last().Body); // no filter is none, and no empty one
        Assert.Equal(Exits.Usage, (await bench.RunAsync("webhook", "add", "ftp://siem.example.org/")).Exit);
        Assert.Equal(Exits.Usage, (await bench.RunAsync("webhook", "add", "https://siem.example.org/", "--severity", "grave")).Exit);

        Assert.Matches("siem.example.org +https://siem.example.org/k +node.\\* trust.changed +rack-… +warning", (await bench.RunAsync("webhook", "list")).Out);
        Assert.Equal("w", JsonNode.Parse((await bench.RunAsync("webhook", "list", "--json")).Out)!["webhooks"]![0]!["webhook"]!["severity"]!.GetValue<string>()[..1]);
        Assert.Contains("204", (await bench.RunAsync("webhook", "test", "w")).Out, StringComparison.Ordinal);
        delivered = "false";
        Assert.Equal(Exits.Failed, (await bench.RunAsync("webhook", "test", "w")).Exit);
        Assert.Contains("whsec_AAAA (told once)", (await bench.RunAsync("webhook", "rotate", "w", "--former-hours", "2")).Out, StringComparison.Ordinal);
        Assert.Equal("""{"formerHours":2}""", bench.Requests.Last().Body);
        var lines = (await bench.RunAsync("webhook", "deliveries", "w", "--limit", "5", "--output", "csv")).Out.Split('\n');
        Assert.Equal("event,subject,at,state,attempts,last,status,ms,next,error,id", lines[0]);
        Assert.Equal("node.failed,a,2026-11-24 12:00:00Z,pending,3,,,,2026-11-24 12:05:00Z,'=no,evt_1", lines[1]);
        Assert.Equal("node.silent,b,2026-11-24 11:00:00Z,delivered,1,,204,12,,,evt_0", lines[2]);
        Assert.Contains("9", (await bench.RunAsync("webhook", "replay", "w", "--since", "2026-11-24T12:00:00Z")).Out, StringComparison.Ordinal);
        Assert.Equal(Exits.Usage, (await bench.RunAsync("webhook", "replay", "w")).Exit);
        Assert.Equal(0, (await bench.RunAsync("webhook", "remove", "w")).Exit);
        Assert.Equal(Exits.NotFound, (await bench.RunAsync("webhook", "remove", "other")).Exit);
        Assert.Equal("replay\n", (await bench.RunAsync("[suggest:18]", "keylime webhook re")).Out.Replace("remove\n", "", StringComparison.Ordinal));
        Assert.Equal("critical\ninfo\nwarning\n", (await bench.RunAsync("[suggest:51]", "keylime webhook add https://e.example/ --severity= ")).Out);
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
    public async Task What_heals_a_failure_is_said_wherever_a_node_is_set_up()
    {
        await using var bench = await Bench.StartAsync(r => (200, r.Contains("enrolment-rules", StringComparison.Ordinal)
            ? """{"name":"r","rule":{"kind":"ek-list"},"updatedAt":"2026-11-24T10:00:00Z"}"""
            : Bench.Details("a")));
        foreach (var (line, node) in ((string[], bool)[])
        [
            (["node", "enrol", "a", "--recovery", "passes:3"], false), (["node", "update", "a", "--recovery", "passes:3"], false),
            (["node", "approve", "a", "--ak-name", "00", "--recovery", "passes:3"], true), (["rule", "put", "r", "--kind", "ek-list", "--recovery", "passes:3"], true),
        ])
        {
            Assert.Equal(0, (await bench.RunAsync(line)).Exit);
            var sent = JsonNode.Parse(bench.Requests.Last().Body)!;
            Assert.Equal("passes:3", (node ? sent["node"]! : sent)["recovery"]!.GetValue<string>());
        }

        Assert.Equal(0, (await bench.RunAsync("node", "recover", "a")).Exit);
        Assert.Equal("POST /v1/nodes/a/recover", bench.Requests.Last().Request);
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
            "GET /v1/nodes/a/events?limit=5" => """{"events":[{"id":"1","at":"2026-11-24T11:00:00Z","type":"node.failed","subject":"a","detail":"why"}]}""",
            _ => """{"verdicts":[{"attestation":6,"at":"2026-11-24T11:59:30Z","evaluation":"pass","coverage":{"identity":"ek-key","boot":"none","runtime":"ima"},"findings":[],"findingCount":0,"attestationKeyName":"000b00"}]}""",
        }));
        Assert.Matches(@"node\.failed +a +why", (await bench.RunAsync("node", "events", "a", "--limit", "5")).Out);
        Assert.Equal("at,type,subject,detail\n2026-11-24 11:00:00Z,node.failed,a,why\n", (await bench.RunAsync("node", "events", "a", "--limit", "5", "--output", "csv")).Out);
        Assert.Contains("pass  identity ek-key, boot none, runtime ima", (await bench.RunAsync("node", "verdicts", "a")).Out, StringComparison.Ordinal); // how weakly its TPM is known
        Assert.Equal(6, JsonNode.Parse((await bench.RunAsync("node", "verdicts", "a", "--json")).Out)!["verdicts"]![0]!["attestation"]!.GetValue<int>());
        Assert.Equal(0, (await bench.RunAsync("node", "retire", "a")).Exit);
    }

    [Fact]
    public async Task Policies()
    {
        const string summary = """{"name":"p","kind":"runtime","digest":"ab","size":2,"paths":1,"excludes":0,"warnings":["careful"],"updatedAt":"2026-11-24T11:00:00Z","signers":[]}""";
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
        Assert.Equal(3, JsonNode.Parse(made.Out)!["meta"]!["generator"]!.GetValue<int>()); // under less than 2 an upstream verifier judges nothing
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

    [Fact]
    public async Task Many_nodes_are_enrolled_from_a_file_and_one_that_fails_stops_no_other()
    {
        await using var bench = await Bench.StartAsync(r => r.Contains("/bad", StringComparison.Ordinal) ? (409, Bench.Problem(409, "no agent has registered")) : (201, Bench.Details("a")));
        await File.WriteAllTextAsync(bench.PathOf("nodes.csv"), "# the rack\nid,policy,interval\na,\"web, new\",30\nbad,,\n\nb,db,\n", Cancel);
        var (exit, _, error) = await bench.RunAsync("node", "enrol", "--from", bench.PathOf("nodes.csv"), "--policy", "base");
        Assert.Equal(Exits.Failed, exit);
        Assert.Contains("error: line 4: bad: no agent has registered", error, StringComparison.Ordinal);
        Assert.Contains("2 of 3 done", error, StringComparison.Ordinal);
        var sent = bench.Requests.Select(r => (r.Request, JsonNode.Parse(r.Body)!["runtimePolicy"]!.GetValue<string>())).ToArray();
        Assert.Equal([("PUT /v1/nodes/a", "web, new"), ("PUT /v1/nodes/bad", "base"), ("PUT /v1/nodes/b", "db")], sent);

        bench.In = Encoding.UTF8.GetBytes("id\na\nb\n");
        Assert.Equal(0, (await bench.RunAsync("node", "retire", "--from", "-")).Exit);
        Assert.Equal(["POST /v1/nodes/a/retire", "POST /v1/nodes/b/retire"], bench.Requests.Skip(3).Select(r => r.Request));
        Assert.Equal(Exits.Usage, (await bench.RunAsync("node", "retire")).Exit);
        Assert.Equal(Exits.Usage, (await bench.RunAsync("node", "retire", "a", "--from", "-")).Exit);
        bench.In = Encoding.UTF8.GetBytes("id,colour\na,red\n");
        Assert.Equal(Exits.Usage, (await bench.RunAsync("node", "retire", "--from", "-")).Exit);
    }

    [Fact]
    public async Task An_approval_names_the_key_that_was_seen()
    {
        await using var bench = await Bench.StartAsync(_ => (200, Bench.Details("a").Replace("\"pcrs\"", "\"proposedKeyName\":\"000bff\",\"pcrs\"", StringComparison.Ordinal)));
        Assert.Equal(0, (await bench.RunAsync("node", "approve", "a", "--policy", "p")).Exit);
        Assert.Equal(["GET /v1/nodes/a", "POST /v1/nodes/a/approve"], bench.Requests.Select(r => r.Request));
        Assert.Equal("000bff", JsonNode.Parse(bench.Requests.Last().Body)!["attestationKeyName"]!.GetValue<string>());
        Assert.Equal("p", JsonNode.Parse(bench.Requests.Last().Body)!["node"]!["runtimePolicy"]!.GetValue<string>());
        Assert.Equal(0, (await bench.RunAsync("node", "reactivate", "a")).Exit);
        Assert.Equal(0, (await bench.RunAsync("node", "forget", "a")).Exit);
        Assert.Equal("DELETE /v2.6/agents/a", bench.Requests.Last().Request);
    }

    [Fact]
    public async Task Trust_is_added_from_files_and_folders()
    {
        const string one = """{"thumbprint":"ab","subject":"CN=a","issuer":"CN=a","notBefore":"2020-01-01T00:00:00Z","notAfter":"2040-01-01T00:00:00Z","root":true,"source":"store"}""";
        await using var bench = await Bench.StartAsync(r => r.StartsWith("DELETE", StringComparison.Ordinal) ? (204, "") : (200, $$"""{"certificates":[{{one}}]}"""));
        Directory.CreateDirectory(bench.PathOf("roots"));
        foreach (var name in (string[])["a.pem", "b.der", "readme.txt"])
            await File.WriteAllTextAsync(Path.Combine(bench.PathOf("roots"), name), name, Cancel);
        Assert.Equal(0, (await bench.RunAsync("trust", "add", bench.PathOf("roots"), bench.PathOf("ca.pem"))).Exit);
        Assert.Equal(["a.pem", "b.der"], bench.Requests.Take(2).Select(r => r.Body));
        Assert.Equal(3, bench.Requests.Count);
        Assert.Contains("ab,CN=a,CN=a,root,2040-01-01 00:00:00Z,store", (await bench.RunAsync("trust", "list", "-o", "csv")).Out, StringComparison.Ordinal);
        Assert.Equal(0, (await bench.RunAsync("trust", "remove", "ab")).Exit);
        Assert.Equal(Exits.Usage, (await bench.RunAsync("trust", "add", bench.PathOf("missing"))).Exit);
    }

    [Fact]
    public async Task Endorsement_keys_rules_and_tokens()
    {
        await using var bench = await Bench.StartAsync(r => r switch
        {
            "POST /v1/known-keys" => (200, """{"added":2,"replaced":0,"unchanged":0}"""),
            "PUT /v1/enrolment-rules/r" => (200, """{"name":"r","rule":{"kind":"webhook","url":"https://example.org/","secret":"whsec_AAAA"},"updatedAt":"2026-11-24T12:00:00Z"}"""),
            "POST /v1/tokens" => (201, """{"name":"ci","role":"auditor","token":"ci.secret","expiresAt":"2026-12-24T12:00:00Z"}"""),
            "GET /v1/tokens" => (200, """{"tokens":[{"name":"ci","role":"auditor","createdAt":"2026-11-24T12:00:00Z"}]}"""),
            "GET /v1/enrolment-rules" => (200, """{"rules":[{"name":"r","rule":{"kind":"ek-list","idPrefix":"rack-"},"updatedAt":"2026-11-24T12:00:00Z"}]}"""),
            _ => (204, ""),
        });
        bench.In = Encoding.UTF8.GetBytes($"hash,agent,note\n{new string('a', 64)},node-1,\"rack 3, slot 4\"\n{new string('b', 64)},,\n");
        Assert.Equal("2 added, 0 replaced, 0 unchanged\n", (await bench.RunAsync("ek", "import", "-")).Out);
        Assert.Equal("rack 3, slot 4", JsonNode.Parse(bench.Requests.Single().Body)!["keys"]![0]!["note"]!.GetValue<string>());
        Assert.Contains("whsec_AAAA (told once)", (await bench.RunAsync("rule", "put", "r", "--kind", "webhook", "--url", "https://example.org/")).Out, StringComparison.Ordinal);
        Assert.Matches("r +ek-list +id rack-", (await bench.RunAsync("rule", "list")).Out);
        Assert.Equal(0, (await bench.RunAsync("rule", "delete", "r")).Exit);

        var (exit, text, _) = await bench.RunAsync("token", "create", "ci", "--role", "auditor", "--token-file", bench.PathOf("ci.token"));
        Assert.Equal(0, exit);
        Assert.DoesNotContain("ci.secret", text, StringComparison.Ordinal);
        Assert.Equal("ci.secret\n", await File.ReadAllTextAsync(bench.PathOf("ci.token"), Cancel));
        Assert.Equal((UnixFileMode)0b110_000_000, File.GetUnixFileMode(bench.PathOf("ci.token")));
        Assert.Equal(Exits.Usage, (await bench.RunAsync("token", "create", "ci", "--role", "auditor", "--token-file", bench.PathOf("ci.token"))).Exit); // not over another one
        Assert.Contains("never", (await bench.RunAsync("token", "list")).Out, StringComparison.Ordinal);
        Assert.Equal(0, (await bench.RunAsync("token", "revoke", "ci")).Exit);
    }

    [Fact]
    public async Task Events_of_the_fleet_are_filtered_and_paged()
    {
        await using var bench = await Bench.StartAsync(r => r.Contains("after=n", StringComparison.Ordinal)
            ? (200, """{"events":[{"id":"2","at":"2026-11-24T10:00:00Z","type":"node.late","subject":"b","detail":"=1+1"}]}""")
            : (200, """{"events":[{"id":"1","at":"2026-11-24T11:00:00Z","type":"node.failed","subject":"a","detail":"w\u001b[31m"}],"next":"n"}"""));
        var (_, text, _) = await bench.RunAsync("events", "--type", "node.failed", "--type", "node.late", "--since", "2026-11-24T00:00:00Z", "--limit", "2", "-o", "csv");
        Assert.Equal("at,type,subject,detail\n2026-11-24 11:00:00Z,node.failed,a,w\\u{1b}[31m\n2026-11-24 10:00:00Z,node.late,b,'=1+1\n", text);
        Assert.Contains("type=node.failed&type=node.late&since=2026-11-24T00%3A00%3A00Z", bench.Requests.First().Request, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_doctor_says_what_is_missing_and_what_to_do()
    {
        await using var bench = await Bench.StartAsync(r => r switch
        {
            "GET /health" => (200, """{"status":"ok","version":"0.1.0","store":"sqlite"}"""),
            "GET /v1/trust" => (200, """{"certificates":[]}"""),
            _ when r.StartsWith("GET /v1/policies", StringComparison.Ordinal) => (200, """{"policies":[]}"""),
            _ when r.StartsWith("GET /v1/events?limit=1&type=storage.row_unreadable&since=2", StringComparison.Ordinal) =>
                (200, """{"events":[{"id":"1","at":"2026-11-24T11:00:00Z","type":"storage.row_unreadable","subject":"service:","detail":"The stored Node 'x' cannot be read"}]}"""),
            _ => (200, $$"""{"nodes":[{{Bench.Node("a", "pending", "Waits for an operator: no rule.")}}]}"""),
        });
        var (exit, text, _) = await bench.RunDoctorAsync();
        Assert.Equal(Exits.Failed, exit);
        foreach (var line in (string[])["ok      TLS:", "ok      token:", "not ok  trust: no root is trusted", "not ok  policies:", "not ok  enrolment: 1 nodes wait", "next: keylime trust add", "not ok  rows: The stored Node 'x'", "Not all is well"])
            Assert.Contains(line, text, StringComparison.Ordinal);

        (exit, text, _) = await bench.RunDoctorAsync("--output", "json");
        Assert.Equal((Exits.Failed, false), (exit, JsonNode.Parse(text)!["ok"]!.GetValue<bool>()));
        var trust = JsonNode.Parse(text)!["findings"]!.AsArray().Single(f => f!["check"]!.GetValue<string>() == "trust")!;
        Assert.Equal((false, "keylime trust add"), (trust["ok"]!.GetValue<bool>(), trust["next"]!.GetValue<string>()[..17]));
        Assert.StartsWith("check,ok,detail,next\nlogin,ok,", (await bench.RunDoctorAsync("-o", "csv")).Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Many_nodes_come_as_one_document_or_as_lines_and_one_as_a_line()
    {
        await using var bench = await Bench.StartAsync(r => r.Contains("/bad", StringComparison.Ordinal) ? (409, Bench.Problem(409, "no")) : (200, Bench.Details(r.Contains("/b/", StringComparison.Ordinal) ? "b" : "a")));
        bench.In = Encoding.UTF8.GetBytes("id\na\nbad\nb\n");
        Assert.Equal(["a", "b"], JsonNode.Parse((await bench.RunAsync("node", "retire", "--from", "-", "-o", "json")).Out)!["nodes"]!.AsArray().Select(n => n!["id"]!.GetValue<string>()));
        var lines = (await bench.RunAsync("node", "reactivate", "--from", "-", "-o", "csv")).Out.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["node", "a", "b"], lines.Select(l => l.Split(',')[0]));
        Assert.Equal("a: failed\nb: failed\n", (await bench.RunAsync("node", "retire", "--from", "-")).Out);
        foreach (var command in (string[][])[["node", "show", "a"], ["node", "enrol", "a"], ["node", "approve", "a"], ["node", "retire", "a"]])
            Assert.Equal(2, (await bench.RunAsync([.. command, "-o", "csv"])).Out.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
    }

    [Theory]
    [InlineData("bash")]
    [InlineData("zsh")]
    [InlineData("fish")]
    public async Task Shells_are_told_how_to_complete(string shell)
    {
        await using var bench = await Bench.StartAsync(_ => (200, "{}"));
        Assert.Contains("[suggest:", (await bench.RunAsync("completion", shell)).Out, StringComparison.Ordinal);
        Assert.Equal("enrol\n", (await bench.RunAsync("[suggest:16]", "keylime node enr")).Out);
        Assert.Equal("csv\njson\ntable\n", (await bench.RunAsync("[suggest:27]", "keylime node list --output=")).Out);
        Assert.Equal("json\n", (await bench.RunAsync("[suggest:28]", "keylime node list --output=j")).Out);
        Assert.Contains("silent\n", (await bench.RunAsync("[suggest:26]", "keylime node list --state ")).Out, StringComparison.Ordinal);
        Assert.DoesNotContain("?", (await bench.RunAsync("[suggest:13]", "keylime node ")).Out, StringComparison.Ordinal);
    }
}
