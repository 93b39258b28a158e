using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Keylime.Tenant;

namespace Keylime.Functions.Tests;

/// <summary>What an operator does with policies by the tool, at the service as it is.</summary>
public sealed class OperatorToolTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_policy_is_tried_against_the_fleet_and_who_would_fail_is_told()
    {
        await using var service = await TestService.StartAsync();
        using var tool = new OperatorTool(service);
        using var good = await TestAgent.EnrolledAsync(service, "good");
        using var bad = await TestAgent.EnrolledAsync(service, "bad");
        using var quiet = await TestAgent.EnrolledAsync(service, "quiet"); // has not attested
        await good.AttestAsync();
        await bad.MeasureAsync("/usr/bin/later");
        await bad.AttestAsync();
        await File.WriteAllTextAsync(tool.PathOf("draft.json"), await tool.DoAsync("policy", "get", "good"), Cancel);

        var (exit, text, error) = await tool.RunAsync("policy", "test", tool.PathOf("draft.json"), "--all");
        Assert.Equal("", error);
        Assert.Equal(TrialCommands.WouldFail, exit);
        var lines = text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(("would fail 1 of 2:", "bad (attestation 0)", "1 have no evidence that it could judge, which says nothing for them"), (lines[0], lines[1], lines[^1]));
        Assert.StartsWith("  ima.not_in_policy: ", lines[2], StringComparison.Ordinal);
        Assert.Contains("/usr/bin/later", lines[2], StringComparison.Ordinal);
        Assert.Equal((0, "would fail none of 1\n", ""), await tool.RunAsync("policy", "test", tool.PathOf("draft.json"), "--node", "good"));
        Assert.Equal(TrialCommands.WouldFail, (await tool.RunAsync("policy", "test", "good", "--node", "bad")).Exit); // by its name at the service
        var trials = JsonNode.Parse((await tool.RunAsync("policy", "test", "good", "--all", "--json")).Out)!["trials"]!.AsArray();
        Assert.Equal(["bad fail", "good pass", "quiet no-evidence"], trials.Select(t => $"{t!["node"]} {t["outcome"]}").Order());

        // What the text would be admitted by is found the same way; and nothing has changed by all this.
        await tool.DoAsync("policy", "create", "runtime", "--node", "bad", "--out", tool.PathOf("wider.json"));
        Assert.Equal((0, "would fail none of 2\n1 have no evidence that it could judge, which says nothing for them\n"),
            ((await tool.RunAsync("policy", "test", tool.PathOf("wider.json"), "--all")) is var (wide, said, _) ? (wide, said) : default));
        Assert.Equal(1, (await good.NodeAsync())["node"]!["attestations"]!.GetValue<int>());
        Assert.Equal(3, JsonNode.Parse(await tool.DoAsync("policy", "list", "--json"))!["policies"]!.AsArray().Count);
    }

    [Fact]
    public async Task A_trial_needs_a_policy_and_somebody_to_try_it_on()
    {
        await using var service = await TestService.StartAsync();
        using var tool = new OperatorTool(service);
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();
        await File.WriteAllTextAsync(tool.PathOf("cut.json"), (await tool.DoAsync("policy", "get", "node"))[..^9], Cancel);
        foreach (var (exit, says, args) in ((int, string, string[])[])
            [
                (Exits.Usage, "either --node ID or --all", ["node"]),
                (Exits.Usage, "either --node ID or --all", ["node", "--all", "--node", "node"]),
                (Exits.Failed, "The body is no policy: ", [tool.PathOf("cut.json"), "--all"]),
                (Exits.NotFound, "no file nothing here", ["nothing", "--all"]),
                (Exits.NotFound, "There is no node of that id", ["node", "--node", "nobody"]),
            ])
        {
            var told = await tool.RunAsync(["policy", "test", .. args]);
            Assert.Equal((exit, ""), (told.Exit, told.Out));
            Assert.Contains("error: ", told.Error, StringComparison.Ordinal);
            Assert.Contains(says, told.Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task What_a_failed_verdict_proposes_is_merged_and_then_admits_the_file_and_nothing_else()
    {
        await using var service = await TestService.StartAsync();
        using var tool = new OperatorTool(service);
        using var agent = await TestAgent.EnrolledAsync(service, "web");
        var fragment = tool.PathOf("fragment.json");
        Assert.Equal(Exits.Usage, (await tool.RunAsync("node", "show", "web", "--propose", "--out", fragment)).Exit); // no verdict yet
        await agent.AttestAsync();
        var (exit, _, error) = await tool.RunAsync("node", "show", "web", "--propose", "--out", fragment);
        Assert.Equal(Exits.Usage, exit);
        Assert.Contains("the last verdict on web is no fail", error, StringComparison.Ordinal);
        Assert.False(File.Exists(fragment));

        await agent.MeasureAsync("/usr/bin/new");
        await agent.Ima.ViolateAsync("/var/log/x+"u8.ToArray(), Cancel);
        Assert.Equal("fail", await AttestAsync(agent));
        (exit, var text, error) = await tool.RunAsync("node", "show", "web", "--propose", "--out", fragment);
        var digest = Convert.ToHexStringLower(SHA256.HashData("/usr/bin/new"u8));
        Assert.Equal((0, ""), (exit, text));
        Assert.Contains($"would allow /usr/bin/new with {digest}\n", error, StringComparison.Ordinal);
        Assert.Contains("would tolerate violations of ", error, StringComparison.Ordinal);
        Assert.Contains("keylime policy merge web FILE --out NEW, and keylime policy put web NEW", error, StringComparison.Ordinal);
        var proposed = JsonNode.Parse(await File.ReadAllBytesAsync(fragment, Cancel))!;
        Assert.Equal(["digests", "violations"], proposed.AsObject().Select(m => m.Key));
        Assert.Equal(digest, Assert.Single(proposed["digests"]!.AsObject()).Value![0]!.GetValue<string>());

        // As its words say.
        await tool.DoAsync("policy", "merge", "web", fragment, "--out", tool.PathOf("new.json"));
        Assert.Equal((1, ""), (await tool.RunAsync("policy", "diff", "web", tool.PathOf("new.json"))) is var (differs, said, why) && said.Contains($"/usr/bin/new is new, with the digest {digest}.\n", StringComparison.Ordinal) ? (differs, why) : default);
        Assert.Equal(0, (await tool.RunAsync("policy", "test", tool.PathOf("new.json"), "--node", "web")).Exit);
        await tool.DoAsync("policy", "put", "web", tool.PathOf("new.json"));
        Assert.Equal("pass", await AttestAsync(agent));
        await agent.MeasureAsync("/usr/bin/other");
        Assert.Equal("fail", await AttestAsync(agent));
    }

    [Fact]
    public async Task A_proposal_of_violations_reaches_a_policy_that_has_rules_of_its_own()
    {
        await using var service = await TestService.StartAsync();
        using var tool = new OperatorTool(service);
        using var agent = await TestAgent.EnrolledAsync(service, "web");
        await File.WriteAllTextAsync(tool.PathOf("rules.json"), """{"violations":{"budget":0,"paths":["/var/spool/.*"]}}""", Cancel);
        await tool.DoAsync("policy", "merge", "web", tool.PathOf("rules.json"), "--out", tool.PathOf("first.json"));
        await tool.DoAsync("policy", "put", "web", tool.PathOf("first.json"));
        await agent.Ima.ViolateAsync("/var/log/x"u8.ToArray(), Cancel);
        Assert.Equal("fail", await AttestAsync(agent));
        await tool.DoAsync("node", "show", "web", "--propose", "--out", tool.PathOf("fragment.json"));
        await tool.DoAsync("policy", "merge", "web", tool.PathOf("fragment.json"), "--out", tool.PathOf("new.json"));
        await tool.DoAsync("policy", "put", "web", tool.PathOf("new.json"));
        Assert.Equal("pass", await AttestAsync(agent));
    }

    [Fact]
    public async Task A_boot_policy_is_made_of_what_a_node_proved_tried_and_given_to_it()
    {
        await using var service = await TestService.StartAsync();
        using var tool = new OperatorTool(service);
        using var agent = await BootTests.BootedAsync(service);
        Assert.Equal(Exits.NotFound, (await tool.RunAsync("node", "boot-log", agent.Id, "--out", tool.PathOf("log"))).Exit); // nothing is proven yet
        Assert.False(File.Exists(tool.PathOf("log")));
        await agent.AttestAsync();

        var (exit, text, error) = await tool.RunAsync("node", "boot-log", agent.Id, "--out", tool.PathOf("log"));
        Assert.Equal((0, "", $"{agent.BootLog!.Length} bytes of boot log in {tool.PathOf("log")}\n"), (exit, text, error));
        Assert.Equal(agent.BootLog, await File.ReadAllBytesAsync(tool.PathOf("log"), Cancel));
        await tool.DoAsync("node", "measurement-list", agent.Id, "--out", tool.PathOf("list"));
        Assert.Equal(agent.ImaList, await File.ReadAllBytesAsync(tool.PathOf("list"), Cancel));

        var made = await tool.DoAsync("policy", "create", "boot", "--node", agent.Id);
        Assert.Equal(made, await tool.DoAsync("policy", "create", "boot", tool.PathOf("log")));
        await File.WriteAllTextAsync(tool.PathOf("other.json"), made.Replace("quiet", "verbose", StringComparison.Ordinal), Cancel);
        await File.WriteAllTextAsync(tool.PathOf("made.json"), made, Cancel);
        Assert.Equal((0, "would fail none of 1\n", ""), await tool.RunAsync("policy", "test", tool.PathOf("made.json"), "--all"));
        (exit, text, _) = await tool.RunAsync("policy", "test", tool.PathOf("other.json"), "--all");
        Assert.Equal(TrialCommands.WouldFail, exit);
        Assert.Matches(@"^would fail 1 of 1:\nbooted \(attestation 0\)\n  boot\.\w+: ", text);

        // A boot that fails is nothing that an addition to a runtime policy admits; the words say what is.
        await tool.DoAsync("policy", "put", "strict", tool.PathOf("other.json"));
        await tool.DoAsync("node", "update", agent.Id, "--boot-policy", "strict");
        Assert.Equal("fail", await AttestAsync(agent));
        (exit, text, error) = await tool.RunAsync("node", "show", agent.Id, "--propose", "--out", tool.PathOf("fragment.json"));
        Assert.Equal((Exits.Failed, ""), (exit, text));
        Assert.Contains("boot: ", error, StringComparison.Ordinal);
        Assert.Contains("keylime policy create boot --node ID", error, StringComparison.Ordinal);
        Assert.False(File.Exists(tool.PathOf("fragment.json")));
    }

    [Fact]
    public async Task A_node_gets_other_policies_and_loses_them()
    {
        await using var service = await TestService.StartAsync();
        using var tool = new OperatorTool(service);
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        using var other = await TestAgent.EnrolledAsync(service, "other");
        Assert.Contains("runtime policy:    other", await tool.DoAsync("node", "update", "node", "--policy", "other", "--interval", "30"), StringComparison.Ordinal);
        var node = (await agent.NodeAsync())["node"]!;
        Assert.Equal(("other", 30), (node["runtimePolicy"]!.GetValue<string>(), node["intervalSeconds"]!.GetValue<int>()));
        await tool.DoAsync("node", "update", "node", "--no", "policy", "--pcr", $"7={new string('0', 64)}");
        Assert.Null((await agent.NodeAsync())["node"]!["runtimePolicy"]);
        Assert.Equal(30, (await agent.NodeAsync())["node"]!["intervalSeconds"]!.GetValue<int>()); // what is not named stays
        Assert.Single((await agent.NodeAsync())["pcrs"]!.AsObject());
        await tool.DoAsync("node", "update", "node", "--no", "pcrs", "--policy", "node");
        Assert.Empty((await agent.NodeAsync())["pcrs"]!.AsObject());

        // Many, of a file; and what cannot be.
        await File.WriteAllTextAsync(tool.PathOf("nodes.csv"), "id,policy,interval\nnode,other,40\nnobody,other,\nother,node,50\n", Cancel);
        var (exit, text, error) = await tool.RunAsync("node", "update", "--from", tool.PathOf("nodes.csv"));
        Assert.Equal(Exits.Failed, exit);
        Assert.Equal(2, text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        Assert.Contains("line 3: nobody", error, StringComparison.Ordinal);
        Assert.Equal(50, (await other.NodeAsync())["node"]!["intervalSeconds"]!.GetValue<int>());
        foreach (var (expected, args) in ((int, string[])[])
            [
                (Exits.Usage, ["node"]),
                (Exits.Usage, ["node", "--policy", "node", "--no", "policy"]),
                (Exits.Usage, ["node", "--no", "interval"]),
                (Exits.Usage, ["node", "--pcr", "7"]),
                (Exits.Failed, ["node", "--policy", "missing"]),
                (Exits.Failed, ["node", "--boot-policy", "other"]), // a runtime policy
                (Exits.NotFound, ["nobody", "--interval", "30"]),
            ])
        {
            (exit, _, error) = await tool.RunAsync(["node", "update", .. args]);
            Assert.True(expected == exit, $"{string.Join(' ', args)}: {exit}: {error}");
            Assert.Contains("error: ", error, StringComparison.Ordinal);
        }

        Assert.Equal(("other", 40), (await agent.NodeAsync())["node"]! is var last ? (last["runtimePolicy"]!.GetValue<string>(), last["intervalSeconds"]!.GetValue<int>()) : default);
    }

    [Fact]
    public async Task A_text_is_signed_put_approved_by_somebody_else_and_its_versions_say_by_whom()
    {
        await using var service = await TestService.StartAsync(configure: o => o with { RequireSignedPolicies = true, RequirePolicyApproval = true });
        using var tool = new OperatorTool(service);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        await File.WriteAllTextAsync(tool.PathOf("key"), key.ExportPkcs8PrivateKeyPem(), Cancel);
        await File.WriteAllTextAsync(tool.PathOf("pub"), key.ExportSubjectPublicKeyInfoPem(), Cancel);
        await File.WriteAllTextAsync(tool.PathOf("allowed"), $"{new string('a', 64)}  /usr/bin/a\n", Cancel);
        await tool.DoAsync("policy", "create", "runtime", "--allowlist", tool.PathOf("allowed"), "--out", tool.PathOf("bare.json"));
        await tool.DoAsync("policy", "sign", tool.PathOf("bare.json"), "--key", tool.PathOf("key"), "--out", tool.PathOf("signed.json"));

        // Signers are for approvers to name.
        Assert.Equal(Exits.Refused, (await tool.RunAsync("policy", "signer", "add", "alice", tool.PathOf("pub"))).Exit);
        var (exit, text, _) = await tool.RunAsAsync("approver", "policy", "signer", "add", "alice", tool.PathOf("pub"));
        Assert.Equal(0, exit);
        Assert.StartsWith("alice: key ", text, StringComparison.Ordinal);
        Assert.Equal(Exits.Failed, (await tool.RunAsAsync("approver", "policy", "signer", "add", "bob", tool.PathOf("bare.json"))).Exit);
        Assert.Equal(Exits.Usage, (await tool.RunAsAsync("approver", "policy", "signer", "add", "bob", tool.PathOf("missing"))).Exit);
        Assert.Equal(Exits.Usage, (await tool.RunAsAsync("approver", "policy", "signer", "add", "b/b", tool.PathOf("pub"))).Exit);
        var signers = (await tool.DoAsync("policy", "signer", "list", "-o", "csv")).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.StartsWith("alice,key,", Assert.Single(signers.Skip(1)), StringComparison.Ordinal);

        Assert.Contains("not signed", (await tool.RunAsync("policy", "put", "web", tool.PathOf("bare.json"))).Error, StringComparison.Ordinal);
        var put = await tool.DoAsync("policy", "put", "web", tool.PathOf("signed.json"));
        const string approve = "web: waits for approval: keylime ";
        Assert.StartsWith(approve, put, StringComparison.Ordinal);
        var words = put[approve.Length..].Trim().Split(' '); // what the tool says to do
        Assert.Equal(Exits.Refused, (await tool.RunAsync(words)).Exit); // by whoever put it
        Assert.Equal(Exits.Conflict, (await tool.RunAsAsync("approver", [.. words[..^1], new string('0', 64)])).Exit);
        Assert.Equal(Exits.NotFound, (await tool.RunAsAsync("approver", "policy", "approve", "none", "--digest", words[^1])).Exit);
        Assert.Equal((0, $"web: {words[^1]} is in force\n", ""), await tool.RunAsAsync("approver", words));

        Assert.Matches($"\n[^,]+,{words[^1]},token operator,alice,token approver\n", await tool.DoAsync("policy", "versions", "web", "-o", "csv"));
        Assert.Contains("token approver", await tool.DoAsync("policy", "versions", "web"), StringComparison.Ordinal);
        Assert.Equal(Exits.NotFound, (await tool.RunAsync("policy", "versions", "none")).Exit);
        Assert.Equal($"signed by {tool.PathOf("pub")}\n", await tool.DoAsync("policy", "verify", "web", "--key", tool.PathOf("pub"))); // as the service has it
        Assert.Equal(0, (await tool.RunAsAsync("approver", "policy", "signer", "remove", "alice")).Exit);
        Assert.Empty(JsonNode.Parse(await tool.DoAsync("policy", "signer", "list", "--json"))!["signers"]!.AsArray());
    }

    private static async Task<string> AttestAsync(TestAgent agent)
    {
        agent.Service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        await agent.AuthenticateAsync();
        return (await agent.AttestAsync())["evaluation"]!.GetValue<string>();
    }
}
