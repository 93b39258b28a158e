using System.Net;
using System.Text.Json.Nodes;

namespace Keylime.Functions.Tests;

/// <summary>Claiming an id.</summary>
public sealed class RegistrarTests
{
    [Theory]
    [InlineData("v2")]
    [InlineData("v2.0")]
    [InlineData("v2.1")]
    [InlineData("v2.5")]
    [InlineData("v2.6")]
    public async Task Every_version_registers_and_activates(string version)
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "d432fbb3-d2f1-4a97-9ef7-75bd81c0de01");
        var registered = await service.Anonymous.SendAsync("POST", $"/{version}/agents/{agent.Id}", agent.Registration());
        Upstream.CheckEnvelope(registered);
        var tag = agent.Tag(registered.Json["results"]!["blob"]!.GetValue<string>());
        Upstream.CheckEnvelope(await service.Anonymous.SendAsync("PUT", $"/{version}/agents/{agent.Id}", new JsonObject { ["auth_tag"] = tag }));

        var seen = (await service.Operator.SendAsync("GET", $"/{version}/agents/{agent.Id}")).Expect(HttpStatusCode.OK)["results"]!;
        Assert.Equal(agent.Registration()["aik_tpm"]!.GetValue<string>(), seen["aik_tpm"]!.GetValue<string>());
        Assert.Equal(1, seen["regcount"]!.GetValue<int>());
        var all = (await service.Operator.SendAsync("GET", $"/{version}/agents")).Expect(HttpStatusCode.OK)["results"]!["uuids"]!;
        Assert.Equal(agent.Id, all.AsArray().Single()!.GetValue<string>());
    }

    [Fact]
    public async Task Versions_are_told_as_the_strict_client_wants_them()
    {
        await using var service = await TestService.StartAsync();
        var reply = await service.Anonymous.SendAsync("GET", "/version");
        Upstream.CheckVersion(reply);
        Assert.Equal("2.6", reply.Json["results"]!["current_version"]!.GetValue<string>());
    }

    [Fact]
    public async Task Another_TPM_cannot_take_an_id_and_that_it_tried_is_an_event()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();
        using var thief = new TestAgent(service, "node");

        var refused = await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", thief.Registration());

        Assert.Equal(HttpStatusCode.Forbidden, refused.Status);
        var seen = (await service.Operator.SendAsync("GET", "/v2.6/agents/node")).Expect(HttpStatusCode.OK)["results"]!;
        Assert.Equal(agent.Registration()["ek_tpm"]!.GetValue<string>(), seen["ek_tpm"]!.GetValue<string>());
        var events = (await service.Operator.SendAsync("GET", "/v1/nodes/node/events")).Expect(HttpStatusCode.OK)["events"]!.AsArray();
        Assert.Contains(events, e => e!["type"]!.GetValue<string>() == "registration.identity_conflict");

        service.Clock.Advance(TimeSpan.FromSeconds(60));
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
    }

    [Fact]
    public async Task A_wrong_tag_does_not_touch_an_active_registration()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");

        var wrong = await service.Anonymous.SendAsync("PUT", "/v2.6/agents/node", new JsonObject { ["auth_tag"] = new string('0', 96) });

        Assert.Equal(HttpStatusCode.BadRequest, wrong.Status);
        (await service.Operator.SendAsync("GET", "/v2.6/agents/node")).Expect(HttpStatusCode.OK);
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        var events = (await service.Operator.SendAsync("GET", "/v1/nodes/node/events")).Json["events"]!.AsArray();
        Assert.Contains(events, e => e!["type"]!.GetValue<string>() == "registration.activation_failed");
    }

    [Fact]
    public async Task A_wrong_tag_for_a_new_registration_is_the_only_try()
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "node");
        var blob = (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration())).Expect(HttpStatusCode.OK)["results"]!["blob"]!.GetValue<string>();
        var right = agent.Tag(blob);

        var wrong = await service.Anonymous.SendAsync("PUT", "/v2.6/agents/node", new JsonObject { ["auth_tag"] = new string('f', 96) });
        Assert.Equal(HttpStatusCode.BadRequest, wrong.Status);
        Assert.DoesNotContain(right, wrong.Text, StringComparison.OrdinalIgnoreCase); // an advisory of a peer: it told the right one
        Assert.Equal(HttpStatusCode.NotFound, (await service.Anonymous.SendAsync("PUT", "/v2.6/agents/node", new JsonObject { ["auth_tag"] = right })).Status);
    }

    [Fact]
    public async Task Registering_again_keeps_an_active_registration_active()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration())).Expect(HttpStatusCode.OK);
        (await service.Operator.SendAsync("GET", "/v2.6/agents/node")).Expect(HttpStatusCode.OK);
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        await agent.RegisterAsync();
        Assert.Equal(3, (await service.Operator.SendAsync("GET", "/v2.6/agents/node")).Json["results"]!["regcount"]!.GetValue<int>());
    }

    [Fact]
    public async Task Whoever_never_activated_holds_an_id_for_an_hour_only()
    {
        await using var service = await TestService.StartAsync();
        using var squatter = new TestAgent(service, "node");
        (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", squatter.Registration())).Expect(HttpStatusCode.OK);
        using var owner = new TestAgent(service, "node");
        Assert.Equal(HttpStatusCode.Forbidden, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", owner.Registration())).Status);

        service.Clock.Advance(TimeSpan.FromMinutes(61));
        await owner.RegisterAsync();
    }

    [Theory]
    [InlineData("ek_tpm", "AAAA")]
    [InlineData("aik_tpm", "")]
    [InlineData("aik_tpm", null)]
    [InlineData("ek_tpm", 7)]
    [InlineData("ekcert", "AAAA")]
    public async Task A_claim_with_a_broken_key_or_certificate_is_refused(string member, object? value)
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "node");
        var claim = agent.Registration();
        claim[member] = value is int number ? number : (string?)value;
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", claim)).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await service.Operator.SendAsync("GET", "/v2.6/agents/node")).Status);
    }

    [Fact]
    public async Task Keys_in_each_others_place_are_refused()
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "node");
        var claim = agent.Registration();
        (claim["ek_tpm"], claim["aik_tpm"]) = (claim["aik_tpm"]!.DeepClone(), claim["ek_tpm"]!.DeepClone());
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", claim)).Status);
    }

    [Theory]
    [InlineData("a%2Fb")]
    [InlineData("a%23b")]
    [InlineData("a%3Fb")]
    [InlineData("a%5Cb")]
    [InlineData("a%0D%0Ab")]
    [InlineData("a%E2%80%AEb")]
    [InlineData("%2E%2E")]
    [InlineData("..")]
    public async Task An_id_with_signs_of_other_meaning_is_refused(string id)
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "node");
        var posted = await service.Anonymous.SendAsync("POST", $"/v2.6/agents/{id}", agent.Registration());
        Assert.True(posted.Status is HttpStatusCode.BadRequest or HttpStatusCode.NotFound or HttpStatusCode.MethodNotAllowed, $"{posted.Status} {posted.Text}");
        var named = agent.Registration();
        named["agent_id"] = Uri.UnescapeDataString(id);
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Anonymous.SendAsync("POST", "/v2.6/agents", named)).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Anonymous.SendAsync("POST", "/v3.0/sessions", new TestAgent(service, Uri.UnescapeDataString(id), agent.Tpm).SessionRequest(), Http.JsonApi)).Status);
        Assert.All(service.Log.All, line => Assert.DoesNotContain('\u202e', line));
        Assert.Empty((await service.Operator.SendAsync("GET", "/v2.6/agents")).Json["results"]!["uuids"]!.AsArray());
    }

    [Fact]
    public async Task An_id_of_10_kB_is_refused()
    {
        await using var service = await TestService.StartAsync();
        var reply = await service.Anonymous.SendAsync("GET", "/v1/nodes/" + new string('a', 10_000));
        Assert.True(reply.Status is HttpStatusCode.RequestUriTooLong or HttpStatusCode.BadRequest, $"{reply.Status}");
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Operator.SendAsync("GET", "/v1/nodes/" + new string('a', 81))).Status);
    }

    [Fact]
    public async Task An_oversized_or_wrongly_typed_body_is_refused()
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "node");
        var claim = agent.Registration();
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", claim, "text/plain")).Status);
        claim["ekcert"] = new string('A', 300_000);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", claim)).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", "{\"ek_tpm\":\"\",\"ek_tpm\":\"\"}")).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", "{\"ek_tpm\":")).Status);
    }
}
