using System.Net;
using System.Text.Json.Nodes;

namespace Keylime.Functions.Tests;

/// <summary>Roles for one group of nodes: what they open, and that they open nothing of others.</summary>
public sealed class GroupTests
{
    /// <summary>A runtime policy that allows one file.</summary>
    public static string PolicyText(string path) =>
        """{"meta":{"version":1},"release":0,"digests":{"PATH":["DIGEST"]},"excludes":[],"ima":{"ignored_keyrings":[],"log_hash_alg":"sha1","dm_policy":null}}"""
            .Replace("PATH", path, StringComparison.Ordinal).Replace("DIGEST", new string('a', 64), StringComparison.Ordinal);

    [Fact]
    public async Task Nodes_and_their_history_are_of_the_group_alone()
    {
        await using var service = await TestService.StartAsync();
        using var web = await EnrolledAsync(service, "web-1", "web");
        using var db = await EnrolledAsync(service, "db-1", "db");
        using var free = await TestAgent.EnrolledAsync(service, "free-1");
        using var team = service.CreateClient(await TokenAsync(service, "operator", "web"));

        Assert.Equal(["web-1"], Names(await team.SendAsync("GET", "/v1/nodes"), "nodes", "id"));
        Assert.Equal(["web-1"], Names(await team.SendAsync("GET", "/v1/nodes?state=trusted"), "nodes", "id"));
        (await team.SendAsync("GET", "/v1/nodes/web-1/verdicts")).Expect(HttpStatusCode.OK);
        Assert.Equal(["policy:db-1", "policy:free-1", "policy:web-1", "web-1"], Names(await team.SendAsync("GET", "/v1/events"), "events", "subject").Distinct().Order()); // those policies are of all
        Assert.Empty(Names(await team.SendAsync("GET", "/v1/events?subject=db-1"), "events", "subject"));
        Assert.Empty(Names(await team.SendAsync("GET", "/v1/events?subject=service:"), "events", "subject"));
        foreach (var path in (string[])["db-1", "free-1", "db-1/verdicts", "db-1/events", "db-1/measurement-list", "db-1/boot-log"])
            Assert.Equal(HttpStatusCode.NotFound, (await team.SendAsync("GET", "/v1/nodes/" + path)).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await team.SendAsync("GET", "/v3.0/agents/db-1/attestations/latest")).Status);
        (await team.SendAsync("GET", "/v3.0/agents/web-1/attestations/latest")).Expect(HttpStatusCode.OK);

        // It is moved by nobody whose role is for one group, neither in nor out.
        foreach (var group in (string[])["db", ""])
            Assert.Equal((HttpStatusCode.Forbidden, "urn:keylime:problem:other-group"), Problem(await team.SendAsync("PATCH", "/v1/nodes/web-1", new JsonObject { ["group"] = group })));
        Assert.Equal(HttpStatusCode.NotFound, (await team.SendAsync("PATCH", "/v1/nodes/db-1", new JsonObject { ["group"] = "web" })).Status);
        (await team.SendAsync("PATCH", "/v1/nodes/web-1", new JsonObject { ["intervalSeconds"] = 120 })).Expect(HttpStatusCode.OK);
        (await team.SendAsync("POST", "/v1/nodes/web-1/retire")).Expect(HttpStatusCode.OK);
        (await team.SendAsync("POST", "/v1/nodes/web-1/reactivate")).Expect(HttpStatusCode.OK);
        Assert.Equal(HttpStatusCode.NotFound, (await team.SendAsync("POST", "/v1/nodes/db-1/retire")).Status);

        // Who has several roles may everywhere as much as the one for there says.
        await using var entra = await EntraServer.StartAsync();
        await using var other = await TestService.StartAsync(entra.Replace, configure: entra.Configure);
        using var first = await EnrolledAsync(other, "web-1", "web");
        using var second = await EnrolledAsync(other, "db-1", "db");
        using var both = other.CreateClient(entra.Token(other.Clock.GetUtcNow(), "Keylime.Operator:web", "Keylime.Auditor:db", "Keylime.Auditor:gone"));
        Assert.Equal(["db-1", "web-1"], Names(await both.SendAsync("GET", "/v1/nodes"), "nodes", "id").Order());
        Assert.Equal(HttpStatusCode.NotFound, (await both.SendAsync("POST", "/v1/nodes/db-1/retire")).Status);
        (await both.SendAsync("POST", "/v1/nodes/web-1/retire")).Expect(HttpStatusCode.OK);
    }

    [Fact]
    public async Task A_machine_that_waits_is_admitted_into_the_group_by_who_knows_its_key()
    {
        await using var service = await TestService.StartAsync();
        using var db = await EnrolledAsync(service, "db-1", "db");
        using var fresh = new TestAgent(service, "fresh");
        await fresh.RegisterAsync();
        using var another = new TestAgent(service, "another");
        await another.RegisterAsync();
        using var team = service.CreateClient(await TokenAsync(service, "operator", "web"));
        using var approver = service.CreateClient(await TokenAsync(service, "approver", "web"));
        (await team.SendAsync("PUT", "/v1/policies/web-policy?group=web", PolicyText("/a"))).Expect(HttpStatusCode.Created);
        (await service.Operator.SendAsync("PUT", "/v1/policies/db-policy?group=db", PolicyText("/a"))).Expect(HttpStatusCode.Created);
        (await service.Operator.SendAsync("PUT", "/v1/policies/shared", PolicyText("/b"))).Expect(HttpStatusCode.Created);
        var key = (await service.Operator.SendAsync("GET", "/v1/nodes/fresh")).Expect(HttpStatusCode.OK)["attestationKeyName"]!.GetValue<string>();
        var wrong = (await service.Operator.SendAsync("GET", "/v1/nodes/another")).Expect(HttpStatusCode.OK)["attestationKeyName"]!.GetValue<string>();

        // Without the key's name nobody learns that it is there.
        Assert.Empty(Names(await team.SendAsync("GET", "/v1/nodes?state=pending"), "nodes", "id"));
        Assert.Equal(HttpStatusCode.NotFound, (await team.SendAsync("GET", "/v1/nodes/fresh")).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await team.SendAsync("PUT", "/v1/nodes/fresh", new JsonObject { ["group"] = "web" })).Status);
        foreach (var id in (string[])["fresh", "nobody", "db-1"])
        {
            Assert.Equal(HttpStatusCode.NotFound, (await team.SendAsync("PUT", "/v1/nodes/" + id, new JsonObject { ["group"] = "web", ["attestationKeyName"] = wrong })).Status);
            Assert.Equal(HttpStatusCode.NotFound, (await approver.SendAsync("POST", $"/v1/nodes/{id}/approve", Approval(wrong, "web", null))).Status);
        }

        // Into the own group only, under policies of the own group or of all.
        foreach (var group in (string?[])[null, "db", ""])
            Assert.NotEqual(HttpStatusCode.Created, (await team.SendAsync("PUT", "/v1/nodes/fresh", new JsonObject { ["group"] = group, ["attestationKeyName"] = key })).Status);
        var refused = await approver.SendAsync("POST", "/v1/nodes/fresh/approve", Approval(key, "web", "db-policy"));
        Assert.Equal((HttpStatusCode.BadRequest, "urn:keylime:problem:no-such-policy"), Problem(refused));
        (await approver.SendAsync("POST", "/v1/nodes/fresh/approve", Approval(key, "web", "web-policy"))).Expect(HttpStatusCode.Created);
        (await team.SendAsync("PATCH", "/v1/nodes/fresh", new JsonObject { ["runtimePolicy"] = "shared" })).Expect(HttpStatusCode.OK);
        Assert.Equal(HttpStatusCode.BadRequest, (await team.SendAsync("PATCH", "/v1/nodes/fresh", new JsonObject { ["runtimePolicy"] = "db-policy" })).Status);
        (await team.SendAsync("PUT", "/v1/nodes/another", new JsonObject { ["group"] = "web", ["runtimePolicy"] = "web-policy", ["attestationKeyName"] = wrong })).Expect(HttpStatusCode.Created);

        // Not even an operator of all lets one group's policy judge another one's node.
        var mixed = await service.Operator.SendAsync("PATCH", "/v1/nodes/another", new JsonObject { ["runtimePolicy"] = "db-policy" });
        Assert.Equal((HttpStatusCode.BadRequest, "urn:keylime:problem:other-groups-policy"), Problem(mixed));
        var moved = await service.Operator.SendAsync("PATCH", "/v1/nodes/another", new JsonObject { ["group"] = "db" });
        Assert.Equal((HttpStatusCode.BadRequest, "urn:keylime:problem:other-groups-policy"), Problem(moved));
        (await service.Operator.SendAsync("PATCH", "/v1/nodes/another", new JsonObject { ["group"] = "db", ["runtimePolicy"] = "db-policy" })).Expect(HttpStatusCode.OK);
        Assert.Equal((HttpStatusCode.Conflict, "urn:keylime:problem:policy-in-use"), Problem(await service.Operator.SendAsync("PUT", "/v1/policies/db-policy?group=web", PolicyText("/a"))));

        // A retired node comes back by its own group alone.
        (await service.Operator.SendAsync("POST", "/v1/nodes/db-1/retire")).Expect(HttpStatusCode.OK);
        var dbKey = (await service.Operator.SendAsync("GET", "/v1/nodes/db-1")).Expect(HttpStatusCode.OK)["attestationKeyName"]!.GetValue<string>();
        Assert.Equal(HttpStatusCode.NotFound, (await team.SendAsync("PUT", "/v1/nodes/db-1", new JsonObject { ["group"] = "web", ["attestationKeyName"] = dbKey })).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await approver.SendAsync("POST", "/v1/nodes/db-1/approve", Approval(dbKey, "web", null))).Status);
    }

    [Fact]
    public async Task Policies_of_a_group_are_its_own_and_shared_ones_nobodys()
    {
        await using var service = await TestService.StartAsync();
        using var web = service.CreateClient(await TokenAsync(service, "operator", "web"));
        using var db = service.CreateClient(await TokenAsync(service, "operator", "db"));
        using var auditor = service.CreateClient(await TokenAsync(service, "auditor", "db"));
        (await service.Operator.SendAsync("PUT", "/v1/policies/shared", PolicyText("/s"))).Expect(HttpStatusCode.Created);
        var put = (await web.SendAsync("PUT", "/v1/policies/mine?group=web", PolicyText("/w"))).Expect(HttpStatusCode.Created);
        Assert.Equal("web", put["group"]!.GetValue<string>());
        (await web.SendAsync("PUT", "/v1/policies/mine", PolicyText("/w2"))).Expect(HttpStatusCode.OK); // it stays the group's

        Assert.Equal(["mine", "shared"], Names(await web.SendAsync("GET", "/v1/policies"), "policies", "name"));
        Assert.Equal(["shared"], Names(await auditor.SendAsync("GET", "/v1/policies"), "policies", "name"));
        foreach (var path in (string[])["mine", "mine/versions"])
            Assert.Equal(HttpStatusCode.NotFound, (await auditor.SendAsync("GET", "/v1/policies/" + path)).Status);
        Assert.Contains("/s", (await auditor.SendAsync("GET", "/v1/policies/shared")).Text, StringComparison.Ordinal);
        Assert.DoesNotContain("policy:mine", Names(await auditor.SendAsync("GET", "/v1/events"), "events", "subject"));
        Assert.Contains("policy:mine", Names(await web.SendAsync("GET", "/v1/events"), "events", "subject"));

        // What is of others, of nobody, or would be, is not theirs to change.
        Assert.Equal((HttpStatusCode.Forbidden, "urn:keylime:problem:name-taken"), Problem(await db.SendAsync("PUT", "/v1/policies/mine?group=db", PolicyText("/x"))));
        Assert.Equal((HttpStatusCode.Forbidden, "urn:keylime:problem:shared-policy"), Problem(await db.SendAsync("PUT", "/v1/policies/shared", PolicyText("/x"))));
        Assert.Equal((HttpStatusCode.Forbidden, "urn:keylime:problem:shared-policy"), Problem(await db.SendAsync("PUT", "/v1/policies/shared?group=db", PolicyText("/s"))));
        foreach (var query in (string[])["", "?group=", "?group=web"])
            Assert.Equal((HttpStatusCode.Forbidden, "urn:keylime:problem:other-group"), Problem(await db.SendAsync("PUT", "/v1/policies/new" + query, PolicyText("/x"))));
        foreach (var query in (string[])["?group=", "?group=db"])
            Assert.Equal((HttpStatusCode.Forbidden, "urn:keylime:problem:other-group"), Problem(await web.SendAsync("PUT", "/v1/policies/mine" + query, PolicyText("/w2"))));
        Assert.Equal(HttpStatusCode.NotFound, (await db.SendAsync("DELETE", "/v1/policies/mine")).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await db.SendAsync("DELETE", "/v1/policies/shared")).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Operator.SendAsync("PUT", "/v1/policies/new?group=a%20b", PolicyText("/x"))).Status);

        // Nor does a layer open what is another group's.
        var layers = """{"layers":[{"policy":"mine"}]}""";
        var theirs = await db.SendAsync("PUT", "/v1/policies/layered?group=db", layers);
        var nobodys = await db.SendAsync("PUT", "/v1/policies/layered?group=db", layers.Replace("mine", "gone", StringComparison.Ordinal));
        Assert.Equal((HttpStatusCode.BadRequest, nobodys.Text.Replace("gone", "mine", StringComparison.Ordinal)), (theirs.Status, theirs.Text));
        (await web.SendAsync("PUT", "/v1/policies/layered?group=web", layers)).Expect(HttpStatusCode.Created);
        Assert.Equal(HttpStatusCode.NoContent, (await web.SendAsync("DELETE", "/v1/policies/layered")).Status);

        // An operator of all gives it away; the event says to whom.
        Assert.Equal("db", (await service.Operator.SendAsync("PUT", "/v1/policies/mine?group=db", PolicyText("/w2"))).Expect(HttpStatusCode.OK)["group"]!.GetValue<string>());
        Assert.Equal(HttpStatusCode.NotFound, (await web.SendAsync("GET", "/v1/policies/mine")).Status);
        Assert.Contains("token operator gives it to the group 'db'.", Names(await service.Operator.SendAsync("GET", "/v1/events?subject=policy:mine"), "events", "detail"));
        Assert.Null((await service.Operator.SendAsync("PUT", "/v1/policies/mine?group=", PolicyText("/w2"))).Expect(HttpStatusCode.OK)["group"]);
    }

    [Fact]
    public async Task Approval_of_policies_is_by_the_group_too()
    {
        await using var service = await TestService.StartAsync(configure: static o => o with { RequirePolicyApproval = true });
        using var web = service.CreateClient(await TokenAsync(service, "operator", "web"));
        using var mine = service.CreateClient(await TokenAsync(service, "approver", "web"));
        using var others = service.CreateClient(await TokenAsync(service, "approver", "db"));
        var digest = (await web.SendAsync("PUT", "/v1/policies/p?group=web", PolicyText("/a"))).Expect(HttpStatusCode.Created)["proposedDigest"]!.GetValue<string>();
        var shared = (await service.Operator.SendAsync("PUT", "/v1/policies/s", PolicyText("/b"))).Expect(HttpStatusCode.Created)["proposedDigest"]!.GetValue<string>();
        var approval = new JsonObject { ["digest"] = digest };
        Assert.Equal(HttpStatusCode.NotFound, (await others.SendAsync("POST", "/v1/policies/p/approve", approval)).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await mine.SendAsync("POST", "/v1/policies/s/approve", new JsonObject { ["digest"] = shared })).Status);
        (await mine.SendAsync("POST", "/v1/policies/p/approve", approval)).Expect(HttpStatusCode.OK);
    }

    [Fact]
    public async Task A_draft_is_tried_on_the_own_nodes()
    {
        await using var service = await TestService.StartAsync();
        using var web = await EnrolledAsync(service, "web-1", "web");
        using var db = await EnrolledAsync(service, "db-1", "db");
        using var team = service.CreateClient(await TokenAsync(service, "operator", "web"));
        var digest = (await team.SendAsync("POST", "/v1/policy-drafts", PolicyText("/a"))).Expect(HttpStatusCode.OK)["digest"]!.GetValue<string>();
        Assert.Equal(["web-1"], Names(await team.SendAsync("GET", $"/v1/policy-drafts/{digest}/trials"), "trials", "node"));
        Assert.Equal(HttpStatusCode.NotFound, (await team.SendAsync("GET", $"/v1/policy-drafts/{digest}/trials?node=db-1")).Status);
        (await team.SendAsync("GET", $"/v1/policy-drafts/{digest}/trials?node=web-1")).Expect(HttpStatusCode.OK);
    }

    [Fact]
    public async Task A_token_of_a_group_makes_no_tokens_and_says_what_it_is_for()
    {
        await using var service = await TestService.StartAsync();
        using var team = service.CreateClient(await TokenAsync(service, "operator", "web"));
        var refused = await team.SendAsync("POST", "/v1/tokens", new JsonObject { ["name"] = "more", ["role"] = "operator" });
        Assert.Equal((HttpStatusCode.Forbidden, "urn:keylime:problem:scoped-role"), Problem(refused));
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Operator.SendAsync("POST", "/v1/tokens", new JsonObject { ["name"] = "bad", ["role"] = "operator", ["group"] = "a b" })).Status);
        var listed = (await service.Operator.SendAsync("GET", "/v1/tokens")).Expect(HttpStatusCode.OK)["tokens"]!.AsArray();
        Assert.Equal("web", listed.Single(t => t!["name"]!.GetValue<string>() == "operator-web")!["group"]!.GetValue<string>());
        Assert.Null(listed.Single(t => t!["name"]!.GetValue<string>() == "operator")!["group"]);
        Assert.Contains(Names(await service.Operator.SendAsync("GET", "/v1/events?type=token.refused"), "events", "detail"), static d => d.Contains("of the role operator of the group 'web'", StringComparison.Ordinal));
    }

    private static JsonObject Approval(string key, string group, string? policy) =>
        new() { ["attestationKeyName"] = key, ["node"] = new JsonObject { ["group"] = group, ["runtimePolicy"] = policy } };

    private static (HttpStatusCode Status, string Type) Problem(Reply reply) => (reply.Status, reply.Json["type"]?.GetValue<string>() ?? reply.Text);

    private static IEnumerable<string> Names(Reply reply, string list, string member) => reply.Expect(HttpStatusCode.OK)[list]!.AsArray().Select(i => i![member]!.GetValue<string>());

    private static async Task<string> TokenAsync(TestService service, string role, string group) =>
        (await service.Operator.SendAsync("POST", "/v1/tokens", new JsonObject { ["name"] = $"{role}-{group}", ["role"] = role, ["group"] = group })).Expect(HttpStatusCode.Created)["token"]!.GetValue<string>();

    // Attested once, so that there is something to see.
    private static async Task<TestAgent> EnrolledAsync(TestService service, string id, string group)
    {
        var agent = await TestAgent.EnrolledAsync(service, id);
        (await service.Operator.SendAsync("PATCH", $"/v1/nodes/{id}", new JsonObject { ["group"] = group })).Expect(HttpStatusCode.OK);
        await agent.AttestAsync();
        return agent;
    }
}
