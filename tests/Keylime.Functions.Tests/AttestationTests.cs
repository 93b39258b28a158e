using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Functions.Tests;

/// <summary>A node's life: passing, failing, coming back, falling silent, being taken out.</summary>
public sealed class AttestationTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(TpmAlgorithm.RsaSsa, TpmAlgorithm.Sha256)]
    [InlineData(TpmAlgorithm.RsaPss, TpmAlgorithm.Sha256)]
    [InlineData(TpmAlgorithm.Ecdsa, TpmAlgorithm.Sha256)]
    [InlineData(TpmAlgorithm.RsaSsa, TpmAlgorithm.Sha384)]
    public async Task A_node_of_every_kind_of_key_is_trusted_by_a_pass(TpmAlgorithm scheme, TpmAlgorithm hash)
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node", new SoftwareTpm(scheme, hash));
        Assert.Equal("pending", State(await agent.NodeAsync()));

        var attributes = await agent.AttestAsync();

        Assert.True(attributes["evaluation"]!.GetValue<string>() == "pass", attributes.ToJsonString());
        Assert.Equal("verification_complete", attributes["stage"]!.GetValue<string>());
        var node = await agent.NodeAsync();
        Assert.Equal("trusted", State(node));
        Assert.Equal("ima", node["node"]!["coverage"]!["runtime"]!.GetValue<string>());
        Assert.Equal("ek-key", node["node"]!["coverage"]!["identity"]!.GetValue<string>());
        Assert.Equal(Convert.ToHexStringLower(agent.Tpm.AttestationKey.ComputeName()), node["lastVerdict"]!["attestationKeyName"]!.GetValue<string>());
    }

    [Fact]
    public async Task The_next_attestation_needs_only_new_lines()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var lines = agent.Ima.Lines;
        await agent.AttestAsync();

        service.Clock.Advance(TimeSpan.FromSeconds(60));
        var asked = await agent.AskedAsync();
        Assert.Equal((int)lines, asked.Offset);
        var evidence = agent.Collect(asked);
        Assert.Empty(evidence.Lines!);
        var passed = (await agent.SubmitAsync(asked, evidence)).Expect(HttpStatusCode.Accepted);
        Assert.Equal("pass", passed["data"]!["attributes"]!["evaluation"]!.GetValue<string>());
    }

    [Fact]
    public async Task A_changed_policy_judges_the_whole_list_again()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();
        var policy = (await service.Operator.SendAsync("GET", "/v1/policies/node")).Json;
        policy["digests"]!.AsObject().Remove("/usr/bin/tool1");
        (await service.Operator.SendAsync("PUT", "/v1/policies/node", policy)).Expect(HttpStatusCode.OK);

        service.Clock.Advance(TimeSpan.FromSeconds(60));
        var attributes = await agent.AttestAsync();

        Assert.Equal("fail", attributes["evaluation"]!.GetValue<string>());
        Assert.Contains("/usr/bin/tool1", attributes["findings"]![0]!["detail"]!.GetValue<string>(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_that_no_policy_allows_fails_the_node_and_names_itself()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();
        await agent.MeasureAsync("/tmp/with space/evil");

        service.Clock.Advance(TimeSpan.FromSeconds(60));
        var attributes = await agent.AttestAsync();

        Assert.Equal("policy_violation", attributes["failure_reason"]!.GetValue<string>());
        var finding = (await agent.NodeAsync())["lastVerdict"]!["findings"]!.AsArray().Single()!;
        Assert.Equal("ima.not_in_policy", finding["code"]!.GetValue<string>());
        Assert.Equal("/tmp/with space/evil", finding["path"]!.GetValue<string>());
        Assert.StartsWith("sha256:", finding["seen"]!.GetValue<string>(), StringComparison.Ordinal);
        Assert.Equal(6, finding["line"]!.GetValue<long>());

        // It is not forgotten by time, nor by asking again without the line.
        service.Clock.Advance(TimeSpan.FromDays(10));
        Assert.Equal("failed", State(await agent.NodeAsync()));
        var (types, _) = await EventsAsync(service);
        Assert.Equal(["node.enrolled", "node.failed", "node.pending", "node.trusted", "registration.activated"], types.Order());
    }

    [Fact]
    public async Task A_failed_node_comes_back_by_a_pass()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.MeasureAsync("/opt/new");
        await agent.AttestAsync();
        Assert.Equal("failed", State(await agent.NodeAsync()));

        await agent.PutPolicyAsync();
        service.Clock.Advance(TimeSpan.FromSeconds(60));
        await agent.AttestAsync();

        Assert.Equal("trusted", State(await agent.NodeAsync()));
        Assert.Equal("node.recovered", (await EventsAsync(service)).Types[0]);
    }

    [Fact]
    public async Task Silence_is_computed_from_stored_times()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();

        foreach (var (seconds, state) in ((int, string)[])[(119, "trusted"), (1, "late"), (179, "late"), (1, "silent")])
        {
            service.Clock.Advance(TimeSpan.FromSeconds(seconds));
            Assert.Equal(state, State(await agent.NodeAsync()));
            var listed = (await service.Operator.SendAsync("GET", $"/v1/nodes?state={state}")).Expect(HttpStatusCode.OK);
            Assert.Equal("node", listed["nodes"]!.AsArray().Single()!["id"]!.GetValue<string>());
        }

        await agent.AuthenticateAsync(); // its token has expired meanwhile
        await agent.AttestAsync();
        Assert.Equal("trusted", State(await agent.NodeAsync()));
    }

    [Fact]
    public async Task Lateness_silence_and_the_return_are_told_once_whether_a_sweep_came_by_or_not()
    {
        foreach (var swept in (bool[])[true, false])
        {
            await using var service = await TestService.StartAsync();
            using var agent = await TestAgent.EnrolledAsync(service, "node");
            await agent.AttestAsync();
            for (var minute = 0; minute < 10; minute++)
            {
                service.Clock.Advance(TimeSpan.FromSeconds(60));
                if (swept)
                    await service.Get<Verifier.Sweep>().RunAsync(TestContext.Current.CancellationToken);
            }

            await agent.AuthenticateAsync();
            Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
            Assert.Equal("trusted", State(await agent.NodeAsync()));
            await service.ToldOnceAsync("node.late", "node.silent", "node.returned");
        }
    }

    [Fact]
    public async Task A_reboot_is_an_event_and_starts_the_list_anew()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();

        using var rebooted = new TestAgent(service, "node", agent.Tpm) { Token = agent.Token, BootTime = agent.BootTime.AddHours(5) };
        rebooted.Tpm.Reset();
        await rebooted.Ima.StartAsync(Cancel);
        service.Clock.Advance(TimeSpan.FromSeconds(60));
        var asked = await rebooted.AskedAsync();

        Assert.Equal(0, asked.Offset);
        (await rebooted.SubmitAsync(asked, rebooted.Collect(asked))).Expect(HttpStatusCode.Accepted);
        Assert.Equal("trusted", State(await rebooted.NodeAsync()));
        Assert.Equal("node.rebooted", (await EventsAsync(service)).Types[0]);
    }

    [Fact]
    public async Task A_reboot_that_the_agent_conceals_does_not_pass()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();
        agent.Tpm.Reset(); // the boot time that it tells stays, and so does its list

        service.Clock.Advance(TimeSpan.FromSeconds(60));
        var attributes = await agent.AttestAsync();

        Assert.Equal("fail", attributes["evaluation"]!.GetValue<string>());
        Assert.StartsWith("ima.", attributes["findings"]![0]!["type"]?.GetValue<string>() ?? attributes["findings"]![0]!["code"]!.GetValue<string>(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_retired_node_may_not_attest_and_keeps_its_history()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();

        (await service.Operator.SendAsync("POST", "/v1/nodes/node/retire")).Expect(HttpStatusCode.OK);

        Assert.Equal("retired", State(await agent.NodeAsync()));
        Assert.Equal(HttpStatusCode.Unauthorized, (await agent.AskAsync()).Status); // its token is dead
        var (session, challenge) = await agent.OpenSessionAsync();
        var proven = (await agent.ProveAsync(session, agent.Proof(challenge))).Expect(HttpStatusCode.OK);
        Assert.Equal("fail", proven["data"]!["attributes"]!["evaluation"]!.GetValue<string>());
        var verdicts = (await service.Operator.SendAsync("GET", "/v1/nodes/node/verdicts")).Expect(HttpStatusCode.OK);
        Assert.Single(verdicts["verdicts"]!.AsArray());

        // It may come back as a new node, whose numbers go on.
        (await service.Operator.SendAsync("PUT", "/v1/nodes/node", new JsonObject { ["runtimePolicy"] = "node" })).Expect(HttpStatusCode.Created);
        await agent.AuthenticateAsync();
        Assert.EndsWith("/attestations/1", (await agent.AskAsync()).Location, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_node_without_any_policy_is_not_trusted()
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "bare");
        await agent.RegisterAsync();
        (await service.Operator.SendAsync("PUT", "/v1/nodes/bare", new JsonObject())).Expect(HttpStatusCode.Created);
        await agent.AuthenticateAsync();

        var attributes = await agent.AttestAsync();

        Assert.Equal("fail", attributes["evaluation"]!.GetValue<string>());
        Assert.Equal("failed", State(await agent.NodeAsync()));
    }

    [Fact]
    public async Task PCR_values_are_policy_too()
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "boot");
        agent.Tpm.Extend(TpmAlgorithm.Sha256, 7, new byte[32]);
        await agent.RegisterAsync();
        var asked0 = agent.Tpm.Read(TpmAlgorithm.Sha256, 7);
        var node = new JsonObject { ["pcrs"] = new JsonObject { ["7"] = new JsonArray(Convert.ToHexString(asked0)) } };
        (await service.Operator.SendAsync("PUT", "/v1/nodes/boot", node)).Expect(HttpStatusCode.Created);
        await agent.AuthenticateAsync();
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        Assert.Equal("pcr-values", (await agent.NodeAsync())["node"]!["coverage"]!["boot"]!.GetValue<string>());

        agent.Tpm.Extend(TpmAlgorithm.Sha256, 7, new byte[32]);
        service.Clock.Advance(TimeSpan.FromSeconds(60));
        Assert.Equal("policy_violation", (await agent.AttestAsync())["failure_reason"]!.GetValue<string>());
    }

    [Fact]
    public async Task Too_early_is_told_with_the_time_to_wait()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();
        var reply = await agent.AskAsync();
        Assert.Equal(HttpStatusCode.TooManyRequests, reply.Status);
        Assert.Equal(TimeSpan.FromSeconds(54), reply.RetryAfter);
    }

    [Fact]
    public async Task What_an_agent_says_in_base64_is_judged_the_same()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var path = Encoding.Latin1.GetBytes("/srv/caf\u00e9"); // no UTF-8: only this format carries it
        await agent.Ima.MeasureAsync(new byte[32], path, Cancel);
        var capabilities = agent.Capabilities();
        capabilities["data"]!["attributes"]!["evidence_supported"]![1]!["capabilities"]!["formats"] = new JsonArray("text/plain", "application/octet-stream");
        var reply = await agent.AskAsync(capabilities);
        var requested = reply.Expect(HttpStatusCode.Created)["data"]!["attributes"]!["evidence_requested"]!;
        Assert.Equal("application/octet-stream", requested[1]!["chosen_parameters"]!["format"]!.GetValue<string>());

        var nonce = Convert.FromBase64String(requested[0]!["chosen_parameters"]!["challenge"]!.GetValue<string>());
        var evidence = agent.Collect(new Asked(reply.Location!, nonce, new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of([.. Enumerable.Range(0, 11)])), 0)).ToJson();
        evidence["data"]!["attributes"]!["evidence_collected"]![1]!["data"]!["entries"] = Convert.ToBase64String(agent.ImaList);
        var judged = (await service.Anonymous.SendAsync("PATCH", reply.Location!, evidence, Http.JsonApi, agent.Token)).Expect(HttpStatusCode.Accepted);

        Assert.Equal("policy_violation", judged["data"]!["attributes"]!["failure_reason"]!.GetValue<string>());
        var finding = (await agent.NodeAsync())["lastVerdict"]!["findings"]!.AsArray().Single()!;
        Assert.Equal(@"/srv/caf\xe9", finding["path"]!.GetValue<string>());
    }

    private static string State(JsonNode node) => node["node"]!["state"]!.GetValue<string>();

    private static async Task<(string[] Types, JsonNode All)> EventsAsync(TestService service)
    {
        var events = (await service.Operator.SendAsync("GET", "/v1/nodes/node/events")).Expect(HttpStatusCode.OK);
        return ([.. events["events"]!.AsArray().Select(e => e!["type"]!.GetValue<string>())], events);
    }
}
