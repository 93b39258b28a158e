using System.Net;
using System.Text.Json.Nodes;

namespace Keylime.Functions.Tests;

/// <summary>Our own API: strict, paged, with problems that say what is wrong.</summary>
public sealed class OperatorApiTests
{
    [Fact]
    public async Task Enrolment_pins_the_key_and_is_idempotent()
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "node");
        Problem(await service.Operator.SendAsync("PUT", "/v1/nodes/node", "{}"), HttpStatusCode.Conflict, "not-registered");
        (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration())).Expect(HttpStatusCode.OK);
        Problem(await service.Operator.SendAsync("PUT", "/v1/nodes/node", "{}"), HttpStatusCode.Conflict, "not-activated");
        await agent.RegisterAsync();

        Problem(await service.Operator.SendAsync("PUT", "/v1/nodes/node", """{"attestationKeyName":"000b00"}"""), HttpStatusCode.Conflict, "other-key");
        var name = Convert.ToHexStringLower(agent.Tpm.AttestationKey.ComputeName());
        var body = new JsonObject { ["attestationKeyName"] = name, ["intervalSeconds"] = 30 };
        var created = (await service.Operator.SendAsync("PUT", "/v1/nodes/node", body)).Expect(HttpStatusCode.Created);
        Assert.Equal(name, created["attestationKeyName"]!.GetValue<string>());
        Assert.Equal("rsa-2048", created["attestationKeyType"]!.GetValue<string>());
        (await service.Operator.SendAsync("PUT", "/v1/nodes/node", body)).Expect(HttpStatusCode.OK);
        Problem(await service.Operator.SendAsync("PUT", "/v1/nodes/node", """{"intervalSeconds":31}"""), HttpStatusCode.Conflict, "enrolled-otherwise");

        // An operator who forgets the registration does not unpin the node.
        (await service.Operator.SendAsync("DELETE", "/v2.6/agents/node")).Expect(HttpStatusCode.OK);
        using var other = new TestAgent(service, "node");
        await other.RegisterAsync();
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        var (session, challenge) = await other.OpenSessionAsync();
        Assert.Equal(HttpStatusCode.Unauthorized, (await other.ProveAsync(session, other.Proof(challenge))).Status);
    }

    [Theory]
    [InlineData("""{"intervalSeconds":0}""")]
    [InlineData("""{"intervalSeconds":86401}""")]
    [InlineData("""{"intervalSeconds":"60"}""")]
    [InlineData("""{"runtimePolicy":"no such"}""")]
    [InlineData("""{"runtimePolicy":"missing"}""")]
    [InlineData("""{"pcrs":{"24":["00"]}}""")]
    [InlineData("""{"pcrs":{"7":[]}}""")]
    [InlineData("""{"pcrs":{"7":["zz"]}}""")]
    [InlineData("""{"unknown":1}""")]
    [InlineData("""{"intervalSeconds":60,"intervalSeconds":60}""")]
    [InlineData("""{"intervalSeconds":60} x""")]
    [InlineData("""[]""")]
    [InlineData("")]
    public async Task An_enrolment_that_is_none_is_refused(string body)
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "node");
        await agent.RegisterAsync();
        var reply = await service.Operator.SendAsync("PUT", "/v1/nodes/node", body);
        Assert.Equal(HttpStatusCode.BadRequest, reply.Status);
        Assert.Equal("application/problem+json", reply.ContentType);
        Assert.NotEmpty(reply.Json["detail"]!.GetValue<string>());
        Assert.StartsWith("Waits for an operator", (await agent.NodeAsync())["node"]!["reason"]!.GetValue<string>(), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, (await service.Operator.SendAsync("PUT", "/v1/nodes/node", body, "text/plain")).Status);
    }

    [Theory]
    [InlineData("?limit=0")]
    [InlineData("?limit=1001")]
    [InlineData("?limit=x")]
    [InlineData("?after=%21")]
    [InlineData("?state=good")]
    [InlineData("?state=1")]
    public async Task A_query_that_is_none_is_refused(string query)
    {
        await using var service = await TestService.StartAsync();
        Problem(await service.Operator.SendAsync("GET", "/v1/nodes" + query), HttpStatusCode.BadRequest, "invalid-query");
    }

    [Fact]
    public async Task Lists_are_paged()
    {
        await using var service = await TestService.StartAsync();
        for (var i = 0; i < 5; i++)
        {
            using var agent = new TestAgent(service, $"n{i}", new Testing.SoftwareTpm(Tpm.TpmAlgorithm.Ecdsa));
            await agent.RegisterAsync();
            (await service.Operator.SendAsync("PUT", $"/v1/nodes/n{i}", "{}")).Expect(HttpStatusCode.Created);
        }

        var seen = new List<string>();
        for (var next = ""; next is not null;)
        {
            var page = (await service.Operator.SendAsync("GET", $"/v1/nodes?limit=2&after={next}")).Expect(HttpStatusCode.OK);
            seen.AddRange(page["nodes"]!.AsArray().Select(n => n!["id"]!.GetValue<string>()));
            next = page["next"]?.GetValue<string>();
        }

        Assert.Equal(["n0", "n1", "n2", "n3", "n4"], seen.Order());
    }

    [Fact]
    public async Task Policies_are_put_read_listed_and_deleted()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var text = (await service.Operator.SendAsync("GET", "/v1/policies/node")).Text;
        var copied = (await service.Operator.SendAsync("PUT", "/v1/policies/copy", text)).Expect(HttpStatusCode.Created);
        Assert.Equal(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(text))), copied["digest"]!.GetValue<string>());
        (await service.Operator.SendAsync("PUT", "/v1/policies/copy", text)).Expect(HttpStatusCode.OK);
        var list = (await service.Operator.SendAsync("GET", "/v1/policies")).Expect(HttpStatusCode.OK);
        Assert.Equal(["copy", "node"], list["policies"]!.AsArray().Select(p => p!["name"]!.GetValue<string>()));

        (await service.Operator.SendAsync("PUT", "/v1/enrolment-rules/r", """{"kind":"ek-list","node":{"runtimePolicy":"copy"}}""")).Expect(HttpStatusCode.OK);
        Problem(await service.Operator.SendAsync("DELETE", "/v1/policies/copy"), HttpStatusCode.Conflict, "policy-in-use"); // nodes would come in without one
        Assert.Equal(HttpStatusCode.NoContent, (await service.Operator.SendAsync("DELETE", "/v1/enrolment-rules/r")).Status);
        Assert.Equal(HttpStatusCode.NoContent, (await service.Operator.SendAsync("DELETE", "/v1/policies/copy")).Status);
        Problem(await service.Operator.SendAsync("DELETE", "/v1/policies/copy"), HttpStatusCode.NotFound, "no-such-policy");
        Problem(await service.Operator.SendAsync("GET", "/v1/policies/copy"), HttpStatusCode.NotFound, "no-such-policy");
        Problem(await service.Operator.SendAsync("DELETE", "/v1/policies/node"), HttpStatusCode.Conflict, "policy-in-use");
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("")]
    [InlineData("""{"meta":{"version":1},"release":0,"digests":{},"excludes":[],"ima":{}}""")]
    [InlineData("""{"meta":{"version":1},"release":0,"digests":{"/a":["zz"]},"excludes":[],"ima":{}}""")]
    public async Task A_policy_that_judges_nothing_is_refused(string text)
    {
        await using var service = await TestService.StartAsync();
        Problem(await service.Operator.SendAsync("PUT", "/v1/policies/p", text), HttpStatusCode.BadRequest, "invalid-policy");
        Assert.Equal(HttpStatusCode.NotFound, (await service.Operator.SendAsync("GET", "/v1/policies/p")).Status);
    }

    [Fact]
    public async Task A_node_whose_policy_text_is_gone_is_not_trusted()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        foreach (var blob in Directory.GetFiles(Path.Combine(service.Folder, "blobs")))
            File.Delete(blob);
        var attributes = await agent.AttestAsync();
        Assert.Equal("fail", attributes["evaluation"]!.GetValue<string>());
        Assert.Equal("policy.missing", attributes["findings"]![0]!["code"]!.GetValue<string>());
    }

    private static void Problem(Reply reply, HttpStatusCode status, string type)
    {
        Assert.True(reply.Status == status, $"{reply.Status}: {reply.Text}");
        Assert.Equal("application/problem+json", reply.ContentType);
        Assert.Equal("urn:keylime:problem:" + type, reply.Json["type"]!.GetValue<string>());
    }
}
