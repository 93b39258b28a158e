using System.Globalization;
using System.Net;
using System.Text.Json.Nodes;
using Keylime.Functions.Notifications;
using Keylime.Functions.Storage;
using Keylime.Protocol.Api;
using Keylime.Testing;

namespace Keylime.Functions.Tests;

/// <summary>Webhooks: who is told what, in which words, and that nobody else could have said it.</summary>
public sealed class WebhookTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_webhook_of_one_group_is_told_of_its_nodes_and_of_nothing_else()
    {
        await using var receiver = await HookServer.StartAsync(204, "", 0);
        await using var service = await TestService.StartAsync(configure: o => o with { AllowedOutbound = [receiver.Authority] });
        using var one = await TestAgent.EnrolledAsync(service, "one");
        using var two = await TestAgent.EnrolledAsync(service, "two");
        (await service.Operator.SendAsync("PATCH", "/v1/nodes/one", """{"group":"web"}""")).Expect(HttpStatusCode.OK);
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Operator.SendAsync("PUT", "/v1/webhooks/w", $$"""{"url":"{{receiver.Url}}","group":"a/b"}""")).Status);
        await service.PutWebhookAsync("w", receiver, """{"group":"web","events":["node.retired","policy.*"]}""");
        foreach (var id in (string[])["one", "two"])
            (await service.Operator.SendAsync("POST", $"/v1/nodes/{id}/retire")).Expect(HttpStatusCode.OK);
        await one.PutPolicyAsync();
        await service.HappenAsync("never-enrolled", EventTypes.NodeRetired);
        await service.DeliverAsync();
        Assert.Equal("one", JsonNode.Parse(Assert.Single(receiver.Requests).Body)!["subject"]!.GetValue<string>());

        // The same filter holds for what is sent once more.
        (await service.Operator.SendAsync("POST", "/v1/webhooks/w/replay?since=2020-01-01T00:00:00Z")).Expect(HttpStatusCode.Accepted);
        await service.DeliverAsync();
        Assert.All(receiver.Requests, static r => Assert.Equal("one", JsonNode.Parse(r.Body)!["subject"]!.GetValue<string>()));
        Assert.Equal(2, receiver.Requests.Count);
    }

    [Fact]
    public async Task A_failed_node_is_told_as_a_CloudEvent_that_is_signed_and_holds_Keylimes_revocation()
    {
        await using var receiver = await HookServer.StartAsync(204, "", 0);
        await using var service = await TestService.StartAsync(configure: o => o with { AllowedOutbound = [receiver.Authority], Names = ["attest.example.org"] });
        var secret = (await service.PutWebhookAsync("siem", receiver, """{"severity":"critical"}"""))!;
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.MeasureAsync("/opt/unknown");
        Assert.Equal("fail", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        await service.DeliverAsync();

        var (headers, body) = Assert.Single(receiver.Requests);
        Assert.True(WebhookVerifier.Accepts(secret, headers, body, service.Clock.GetUtcNow()));
        Assert.False(WebhookVerifier.Accepts(secret, headers, body + " ", service.Clock.GetUtcNow()));
        Assert.False(WebhookVerifier.Accepts(secret, headers, body, service.Clock.GetUtcNow().AddMinutes(6)));
        Assert.False(WebhookVerifier.Accepts("whsec_" + Convert.ToBase64String(new byte[32]), headers, body, service.Clock.GetUtcNow()));
        Assert.Equal("application/cloudevents+json", headers["content-type"]);

        // CloudEvents 1.0.2, the required attributes and those that we use
        var message = JsonNode.Parse(body)!.AsObject();
        Assert.Equal(
            ("1.0", headers["webhook-id"], "https://attest.example.org/", "dev.keylime.node.failed", "node", "application/json"),
            (Text("specversion"), Text("id"), Text("source"), Text("type"), Text("subject"), Text("datacontenttype")));
        Assert.Equal(service.Clock.GetUtcNow(), DateTimeOffset.Parse(Text("time"), CultureInfo.InvariantCulture));
        Assert.All(message, static m => Assert.Matches("^[a-z0-9]{1,20}$", m.Key)); // names of attributes
        var listed = (await service.Operator.SendAsync("GET", "/v1/events?type=node.failed")).Expect(HttpStatusCode.OK)["events"]![0]!;
        Assert.True(JsonNode.DeepEquals(listed, message["data"]!["event"]), message.ToJsonString());
        Assert.Equal("critical", listed["severity"]!.GetValue<string>());

        // Keylime's own webhook: a text of JSON in msg, and a signature
        Assert.Equal("", Text("signature"));
        var revocation = JsonNode.Parse(Text("msg"))!.AsObject();
        Assert.True(JsonNode.DeepEquals(revocation, message["data"]!["revocation"]));
        Assert.Equal(
            ["agent_id", "context", "event_id", "event_time", "ip", "meta_data", "port", "severity_label", "tpm_policy", "type"], revocation.Select(static m => m.Key).Order());
        Assert.Equal(("revocation", "node", "", 0, "ima.not_in_policy", "emergency"),
            (revocation["type"]!.GetValue<string>(), revocation["agent_id"]!.GetValue<string>(), revocation["ip"]!.GetValue<string>(), revocation["port"]!.GetValue<int>(),
                revocation["event_id"]!.GetValue<string>(), revocation["severity_label"]!.GetValue<string>()));
        Assert.Contains("/opt/unknown", JsonNode.Parse(revocation["context"]!.GetValue<string>())!["message"]!.GetValue<string>(), StringComparison.Ordinal);
        Assert.True(DateTime.TryParseExact(
            revocation["event_time"]!.GetValue<string>().Replace("  ", " ", StringComparison.Ordinal), "ddd MMM d HH:mm:ss yyyy", CultureInfo.InvariantCulture, DateTimeStyles.None, out var time));
        Assert.InRange((service.Clock.GetUtcNow() - time).TotalSeconds, 0, 1);

        string Text(string name) => message[name]!.GetValue<string>();
    }

    [Fact]
    public async Task A_silent_node_is_no_revocation_but_an_agent_that_cannot_be_reached()
    {
        await using var receiver = await HookServer.StartAsync(200, "", 0);
        await using var service = await TestService.StartAsync(configure: o => o with { AllowedOutbound = [receiver.Authority] });
        await service.PutWebhookAsync("w", receiver, """{"events":["node.silent","node.late"]}""");
        await service.HappenAsync("node", EventTypes.NodeSilent);
        await service.HappenAsync("node", EventTypes.NodeLate);
        await service.DeliverAsync();
        JsonNode[] came = [.. receiver.Requests.Select(static r => JsonNode.Parse(r.Body)!).OrderBy(static m => m["type"]!.GetValue<string>(), StringComparer.Ordinal)]; // told at two moments
        Assert.Equal(["dev.keylime.node.late", "dev.keylime.node.silent"], came.Select(static m => m["type"]!.GetValue<string>()));
        Assert.Equal(("comm_error", "internal.verifier.not_reachable"), (came[^1]["data"]!["revocation"]!["type"]!.GetValue<string>(), came[^1]["data"]!["revocation"]!["event_id"]!.GetValue<string>()));
        Assert.False(came[0].AsObject().ContainsKey("msg"));
    }

    [Fact]
    public async Task While_a_secret_is_rotated_receivers_with_either_take_the_message()
    {
        await using var receiver = await HookServer.StartAsync(200, "", 0);
        await using var service = await TestService.StartAsync(configure: o => o with { AllowedOutbound = [receiver.Authority] });
        var first = (await service.PutWebhookAsync("w", receiver))!;
        var second = await RotateAsync("""{"formerHours":2}""");
        Assert.NotEqual(first, second);
        await CheckAsync((first, true), (second, true));

        var third = await RotateAsync("""{"formerHours":2}"""); // the answer with the second was lost: who knows the first goes on
        await CheckAsync((first, true), (second, false), (third, true));

        service.Clock.Advance(TimeSpan.FromHours(2));
        await CheckAsync((first, false), (third, true));
        Assert.Single(receiver.Requests.Last().Headers["webhook-signature"].Split(' '));

        var own = "whsec_" + Convert.ToBase64String(Enumerable.Range(0, 24).Select(i => (byte)i).ToArray());
        Assert.Null((await service.Operator.SendAsync("POST", "/v1/webhooks/w/rotate", new JsonObject { ["secret"] = own, ["formerHours"] = 0 })).Expect(HttpStatusCode.OK)["webhook"]!["secret"]);
        await CheckAsync((third, false), (own, true));

        async Task<string> RotateAsync(string body) => (await service.Operator.SendAsync("POST", "/v1/webhooks/w/rotate", body)).Expect(HttpStatusCode.OK)["webhook"]!["secret"]!.GetValue<string>();

        async Task CheckAsync(params (string Secret, bool Accepted)[] expected)
        {
            Assert.True((await service.Operator.SendAsync("POST", "/v1/webhooks/w/test")).Expect(HttpStatusCode.OK)["delivered"]!.GetValue<bool>());
            var (headers, body) = receiver.Requests.Last();
            foreach (var (secret, accepted) in expected)
                Assert.Equal(accepted, WebhookVerifier.Accepts(secret, headers, body, service.Clock.GetUtcNow()));
        }
    }

    [Fact]
    public async Task A_webhook_is_put_shown_and_removed_and_its_secret_is_told_once()
    {
        await using var receiver = await HookServer.StartAsync(200, "", 0);
        await using var service = await TestService.StartAsync(configure: o => o with { AllowedOutbound = [receiver.Authority] });
        var secret = (await service.PutWebhookAsync("w", receiver, """{"events":["node.*"]}"""))!;
        Assert.Null(await service.PutWebhookAsync("w", receiver, """{"events":["node.*"]}"""));
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Null(await service.PutWebhookAsync("w", receiver, """{"events":["node.failed"],"nodes":"rack-"}"""));
        foreach (var path in (string[])["/v1/webhooks", "/v1/webhooks/w"])
            Assert.DoesNotContain("whsec_", (await service.Operator.SendAsync("GET", path)).Text, StringComparison.Ordinal);
        var shown = (await service.Operator.SendAsync("GET", "/v1/webhooks/w")).Expect(HttpStatusCode.OK);
        Assert.Equal(("w", "token operator", "rack-"), (shown["name"]!.GetValue<string>(), shown["createdBy"]!.GetValue<string>(), shown["webhook"]!["nodes"]!.GetValue<string>()));

        await service.Operator.SendAsync("POST", "/v1/webhooks/w/test");
        Assert.True(WebhookVerifier.Accepts(secret, receiver.Requests.Last().Headers, receiver.Requests.Last().Body, service.Clock.GetUtcNow())); // the secret stayed
        Assert.Equal("dev.keylime.webhook.test", JsonNode.Parse(receiver.Requests.Last().Body)!["type"]!.GetValue<string>());
        Assert.Equal(HttpStatusCode.NoContent, (await service.Operator.SendAsync("DELETE", "/v1/webhooks/w")).Status);
        foreach (var (method, path) in ((string, string)[])[("GET", ""), ("DELETE", ""), ("POST", "/test"), ("GET", "/deliveries"), ("GET", "/pending"), ("POST", "/replay?since=2026-11-24")])
            Assert.Equal(HttpStatusCode.NotFound, (await service.Operator.SendAsync(method, "/v1/webhooks/w" + path)).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await service.Operator.SendAsync("POST", "/v1/webhooks/w/rotate", "{}")).Status);
        Assert.Equal(3, await service.CountEventsAsync(EventTypes.WebhookChanged)); // put, put otherwise, removed
        Assert.All(service.Log.All, line => Assert.DoesNotContain(secret, line, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("""{}""")]
    [InlineData("""{"url":"relative"}""")]
    [InlineData("""{"url":"http://example.org/"}""")]
    [InlineData("""{"url":"ftp://example.org/"}""")]
    [InlineData("""{"url":"https://user:password@example.org/"}""")]
    [InlineData("""{"url":"https://example.org/","events":["node.broken"]}""")]
    [InlineData("""{"url":"https://example.org/","events":["*"]}""")]
    [InlineData("""{"url":"https://example.org/","events":[".*"]}""")]
    [InlineData("""{"url":"https://example.org/","severity":"grave"}""")]
    [InlineData("""{"url":"https://example.org/","nodes":"a/b"}""")]
    [InlineData("""{"url":"https://example.org/","nodes":""}""")]
    [InlineData("""{"url":"https://example.org/","secret":"whsec_c2hvcnQ="}""")]
    [InlineData("""{"url":"https://example.org/","filter":"none"}""")]
    public async Task A_webhook_that_is_none_is_refused(string webhook)
    {
        await using var service = await TestService.StartAsync();
        var reply = await service.Operator.SendAsync("PUT", "/v1/webhooks/w", webhook);
        Assert.Equal(HttpStatusCode.BadRequest, reply.Status);
        Assert.NotEmpty(reply.Json["detail"]!.GetValue<string>());
        Assert.Empty((await service.Operator.SendAsync("GET", "/v1/webhooks")).Json["webhooks"]!.AsArray());
    }

    [Theory]
    [InlineData("{}", "node:node.failed node:node.rebooted other:token.refused policy:p:policy.deleted service::trust.changed")]
    [InlineData("""{"events":["node.failed"]}""", "node:node.failed")]
    [InlineData("""{"events":["node.*","trust.changed"]}""", "node:node.failed node:node.rebooted service::trust.changed")]
    [InlineData("""{"severity":"warning"}""", "node:node.failed other:token.refused policy:p:policy.deleted service::trust.changed")]
    [InlineData("""{"severity":"critical"}""", "node:node.failed")]
    [InlineData("""{"nodes":"no"}""", "node:node.failed node:node.rebooted")]
    [InlineData("""{"nodes":"o","severity":"warning"}""", "other:token.refused")]
    [InlineData("""{"nodes":"policy"}""", "")]
    public void A_filter_lets_through_what_it_names(string filter, string expected)
    {
        var message = System.Text.Json.JsonSerializer.Deserialize(filter.Insert(1, filter.Length > 2 ? "\"url\":\"https://example.org/\"," : "\"url\":\"https://example.org/\""), Keylime.Protocol.ApiJson.Default.WebhookMessage)!;
        var webhook = Sample(message);
        EventRecord[] all =
        [
            EventRecord.Of("node", default, EventTypes.NodeFailed, ""), EventRecord.Of("node", default, EventTypes.NodeRebooted, ""), EventRecord.Of("other", default, EventTypes.TokenRefused, ""),
            EventRecord.OfPolicy("p", default, EventTypes.PolicyDeleted, ""), EventRecord.Of(EventRecord.Service, default, EventTypes.TrustChanged, ""),
        ];
        Assert.Equal(expected, string.Join(' ', all.Where(e => EventFilter.Lets(webhook, e)).Select(static e => $"{e.Subject}:{e.Type}")));
        Assert.DoesNotContain(all, e => EventFilter.Lets(webhook with { DisabledAt = DateTimeOffset.UnixEpoch }, e));
    }

    [Fact]
    public void Every_type_of_events_has_its_severity_and_its_place()
    {
        var types = typeof(EventTypes).GetFields().Where(static f => f.IsLiteral).Select(static f => (string)f.GetRawConstantValue()!).ToArray();
        Assert.Equal(types.Order(), EventTypes.All.Order());
        Assert.Equal(types.Length, EventTypes.All.Select(EventTypes.PlaceOf).Distinct().Count());
        Assert.Equal(EventSeverity.Critical, EventTypes.SeverityOf(EventTypes.NodeFailed));
        Assert.Equal(EventSeverity.Info, EventTypes.SeverityOf(EventTypes.NodeRecovered));
    }

    [Fact]
    public async Task Events_of_a_webhook_do_not_go_to_itself_and_do_to_others()
    {
        await using var one = await HookServer.StartAsync(200, "", 0);
        await using var other = await HookServer.StartAsync(200, "", 0);
        await using var service = await TestService.StartAsync(configure: o => o with { AllowedOutbound = [one.Authority, other.Authority] });
        await service.PutWebhookAsync("one", one, """{"events":["webhook.*"]}""");
        await service.PutWebhookAsync("other", other, """{"events":["webhook.*"]}""");
        await service.DeliverAsync();
        Assert.Equal("webhook:other", Assert.Single(one.Requests.Select(static r => JsonNode.Parse(r.Body)!["subject"]!.GetValue<string>())));
        Assert.Empty(other.Requests);
    }

    [Fact]
    public async Task Several_instances_know_of_a_new_webhook_within_seconds()
    {
        await using var receiver = await HookServer.StartAsync(200, "", 0);
        await using var here = await TestService.StartAsync(configure: o => o with { AllowedOutbound = [receiver.Authority] });
        await using var there = await TestService.StartAsync(folder: here.Folder, clock: here.Clock, configure: o => o with { AllowedOutbound = [receiver.Authority] });
        await there.HappenAsync("a", EventTypes.NodeFailed, 1); // now it knows that there is none
        await here.PutWebhookAsync("w", receiver, """{"events":["node.failed"]}""");
        here.Clock.Advance(Storage.Recent<object>.Kept);
        await there.HappenAsync("a", EventTypes.NodeFailed, 2);
        await Task.WhenAll(here.DeliverAsync(), there.DeliverAsync());
        Assert.Equal(["a node.failed 2"], receiver.Received());
    }

    private static Webhook Sample(WebhookMessage message) => new()
    {
        Name = "w",
        Channel = "c",
        Message = message,
        SealedSecret = default,
        CreatedAt = default,
        CreatedBy = "",
        UpdatedAt = default,
        UpdatedBy = "",
        Change = WebhookChange.Put,
    };
}
