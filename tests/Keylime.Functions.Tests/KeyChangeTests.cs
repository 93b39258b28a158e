using System.Net;
using System.Text.Json.Nodes;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Functions.Tests;

/// <summary>One TPM, one node: whose a TPM is, and which of its attestation keys counts.</summary>
public sealed class KeyChangeTests
{
    [Fact]
    public async Task Another_key_of_the_same_TPM_waits_for_approval_and_the_old_one_stays_pinned()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();
        var lost = agent.WithNewKey();
        await lost.RegisterAsync();

        // Proven, and yet it opens nothing; the old one still does.
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        var (session, challenge) = await lost.OpenSessionAsync();
        Assert.Equal(HttpStatusCode.Unauthorized, (await lost.ProveAsync(session, lost.Proof(challenge))).Status);
        service.Clock.Advance(TimeSpan.FromSeconds(60));
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        var name = Convert.ToHexStringLower(lost.Tpm.AttestationKey.ComputeName());
        Assert.Equal(name, (await agent.NodeAsync())["proposedKeyName"]!.GetValue<string>());

        // A stranger who only knows the endorsement key, which is public, cannot push the proven proposal away.
        using var stranger = new SoftwareTpm(TpmAlgorithm.Ecdsa);
        var offer = agent.Registration();
        offer["aik_tpm"] = Convert.ToBase64String(stranger.AttestationKey.EncodeSized());
        (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", offer)).Expect(HttpStatusCode.OK);
        Assert.Equal(name, (await agent.NodeAsync())["proposedKeyName"]!.GetValue<string>());
        service.Clock.Advance(TimeSpan.FromMinutes(2));
        await lost.RegisterAsync(); // and the agent that comes again and again has one proposal, told once

        // Whoever approves says which key: another one that was slipped in meanwhile is not it.
        using var approver = service.CreateClient(service.TokenOf("approver"));
        var oldName = Convert.ToHexStringLower(agent.Tpm.AttestationKey.ComputeName());
        Assert.Equal(HttpStatusCode.Conflict, (await approver.SendAsync("POST", "/v1/nodes/node/approve", new JsonObject { ["attestationKeyName"] = oldName })).Status);
        (await approver.SendAsync("POST", "/v1/nodes/node/approve", new JsonObject { ["attestationKeyName"] = name })).Expect(HttpStatusCode.OK);
        Assert.Equal(HttpStatusCode.Unauthorized, (await agent.AskAsync()).Status);
        await lost.AuthenticateAsync();
        Assert.Equal("pass", (await lost.AttestAsync())["evaluation"]!.GetValue<string>());
        Assert.Equal(3, (await agent.NodeAsync())["node"]!["attestations"]!.GetValue<int>());
        await service.ToldOnceAsync("registration.key_change_proposed", "registration.key_change_approved");
    }

    [Fact]
    public async Task A_stranger_who_offers_another_key_for_a_known_TPM_changes_nothing()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        using var thief = new SoftwareTpm();
        var claim = agent.Registration();
        claim["aik_tpm"] = Convert.ToBase64String(thief.AttestationKey.EncodeSized()); // the EK is public; only its TPM opens the credential
        (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", claim)).Expect(HttpStatusCode.OK);
        Assert.Null((await agent.NodeAsync())["proposedKeyName"]);
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Anonymous.SendAsync("PUT", "/v2.6/agents/node", new JsonObject { ["auth_tag"] = new string('0', 96) })).Status);
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        Assert.Equal(HttpStatusCode.Conflict, (await service.Operator.SendAsync("POST", "/v1/nodes/node/approve", new JsonObject { ["attestationKeyName"] = Convert.ToHexStringLower(thief.AttestationKey.ComputeName()) })).Status);
    }

    [Fact]
    public async Task One_TPM_under_two_ids_is_refused_and_told_of_both()
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "first", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        using var clone = new TestAgent(service, "second", agent.Tpm);
        var early = (await service.Anonymous.SendAsync("POST", "/v2.6/agents/second", clone.Registration())).Expect(HttpStatusCode.OK)["results"]!["blob"]!.GetValue<string>();
        await agent.RegisterAsync();

        // whoever comes later, at registration or with a credential that it got before
        Assert.Equal(HttpStatusCode.Forbidden, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/second", clone.Registration())).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await service.Anonymous.SendAsync("PUT", "/v2.6/agents/second", new JsonObject { ["auth_tag"] = clone.Tag(early) })).Status);
        foreach (var id in (string[])["first", "second"])
            Assert.Contains("registration.duplicate_endorsement_key", await service.EventTypesAsync($"/v1/nodes/{id}/events"));

        // Once the first is forgotten, its TPM may go by another name.
        (await service.Operator.SendAsync("DELETE", "/v2.6/agents/first")).Expect(HttpStatusCode.OK);
        await clone.RegisterAsync();
    }

    [Fact]
    public async Task A_TPM_whose_registration_is_forgotten_is_still_that_of_its_node()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "first", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        (await service.Operator.SendAsync("DELETE", "/v2.6/agents/first")).Expect(HttpStatusCode.OK);
        using var clone = new TestAgent(service, "second", agent.Tpm);
        Assert.Equal(HttpStatusCode.Forbidden, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/second", clone.Registration())).Status);
        Assert.Contains("registration.duplicate_endorsement_key", await service.EventTypesAsync("/v1/nodes/first/events"));
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());

        // taken out, it leaves its TPM to another name; and another TPM may come under its own
        (await service.Operator.SendAsync("POST", "/v1/nodes/first/retire")).Expect(HttpStatusCode.OK);
        await clone.RegisterAsync();
        using var other = new TestAgent(service, "first", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        await other.RegisterAsync();
        await clone.RegisterAsync();
    }

    [Fact]
    public async Task A_waiting_node_that_an_operator_took_out_stays_out()
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        await agent.RegisterAsync();
        (await service.Operator.SendAsync("POST", "/v1/nodes/node/retire")).Expect(HttpStatusCode.OK);

        // neither its agent, which comes again, nor a rule that is put later, nor whoever may only approve brings it back
        await service.PutRuleAsync("list", new JsonObject { ["kind"] = "ek-list" });
        await agent.ListKeyAsync();
        await agent.RegisterAsync();
        Assert.Equal("retired", (await agent.NodeAsync())["node"]!["state"]!.GetValue<string>());
        using var approver = service.CreateClient(service.TokenOf("approver"));
        var approval = new JsonObject { ["attestationKeyName"] = Convert.ToHexStringLower(agent.Tpm.AttestationKey.ComputeName()) };
        Assert.Equal(HttpStatusCode.Conflict, (await approver.SendAsync("POST", "/v1/nodes/node/approve", approval)).Status);

        (await service.Operator.SendAsync("POST", "/v1/nodes/node/reactivate")).Expect(HttpStatusCode.OK);
        await agent.RegisterAsync();
        Assert.Equal("Enrolled, and not attested yet.", (await agent.NodeAsync())["node"]!["reason"]!.GetValue<string>());
    }

    [Fact]
    public async Task A_node_that_lost_its_key_while_it_waited_is_approved_with_the_new_one()
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "node");
        await agent.RegisterAsync();
        var lost = agent.WithNewKey();
        await lost.RegisterAsync();
        var name = Convert.ToHexStringLower(lost.Tpm.AttestationKey.ComputeName());
        Assert.Equal(name, (await agent.NodeAsync())["proposedKeyName"]!.GetValue<string>());

        using var approver = service.CreateClient(service.TokenOf("approver"));
        var wrong = new JsonObject { ["attestationKeyName"] = name, ["node"] = new JsonObject { ["runtimePolicy"] = "missing" } };
        Assert.Equal(HttpStatusCode.BadRequest, (await approver.SendAsync("POST", "/v1/nodes/node/approve", wrong)).Status);
        Assert.Equal(name, (await agent.NodeAsync())["proposedKeyName"]!.GetValue<string>()); // still
        var admitted = (await approver.SendAsync("POST", "/v1/nodes/node/approve", new JsonObject { ["attestationKeyName"] = name })).Expect(HttpStatusCode.Created);
        Assert.Equal(name, admitted["attestationKeyName"]!.GetValue<string>());
        Assert.Null((await agent.NodeAsync())["proposedKeyName"]);
        await lost.AuthenticateAsync();
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        var (session, challenge) = await agent.OpenSessionAsync();
        Assert.Equal(HttpStatusCode.Unauthorized, (await agent.ProveAsync(session, agent.Proof(challenge))).Status);
        await service.ToldOnceAsync("registration.key_change_proposed", "registration.key_change_approved", "node.enrolled");
    }
}
