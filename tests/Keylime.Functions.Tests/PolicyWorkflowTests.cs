using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Attestation;

namespace Keylime.Functions.Tests;

/// <summary>How a policy's text comes into force: versions, layers, signatures, approval; and how it is tried before it judges anybody.</summary>
public sealed class PolicyWorkflowTests
{
    [Fact]
    public async Task A_policy_is_a_row_of_immutable_versions()
    {
        await using var service = await TestService.StartAsync();
        var first = Text("/usr/bin/a");
        var second = Text("/usr/bin/b");
        (await service.Operator.SendAsync("PUT", "/v1/policies/web", first)).Expect(HttpStatusCode.Created);
        (await service.Operator.SendAsync("PUT", "/v1/policies/web", second)).Expect(HttpStatusCode.OK);
        (await service.Operator.SendAsync("PUT", "/v1/policies/web", second)).Expect(HttpStatusCode.OK); // no version more

        var versions = (await service.Operator.SendAsync("GET", "/v1/policies/web/versions")).Expect(HttpStatusCode.OK)["versions"]!.AsArray();
        Assert.Equal([DigestOf(second), DigestOf(first)], versions.Select(v => v!["digest"]!.GetValue<string>()));
        Assert.Equal("token operator", versions[0]!["putBy"]!.GetValue<string>());
        Assert.Equal(first, (await service.Operator.SendAsync("GET", $"/v1/policies/web?digest={DigestOf(first)}")).Text);
        Assert.Equal(HttpStatusCode.NotFound, (await service.Operator.SendAsync("GET", $"/v1/policies/web?digest={new string('0', 64)}")).Status);
        Assert.Equal(HttpStatusCode.Conflict, (await service.Operator.SendAsync("PUT", "/v1/policies/web", BootTests.Policy())).Status); // of another kind
    }

    [Fact]
    public async Task Layers_pin_what_their_names_mean_now_and_an_update_runs_beside_its_predecessor_until_a_date()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var old = await service.Operator.GetStringAsync(new Uri("/v1/policies/node", UriKind.Relative), TestContext.Current.CancellationToken);
        (await service.Operator.SendAsync("PUT", "/v1/policies/base-1", old)).Expect(HttpStatusCode.Created);
        (await service.Operator.SendAsync("PUT", "/v1/policies/base-2", Text("/usr/bin/new"))).Expect(HttpStatusCode.Created);
        var until = service.Clock.GetUtcNow().AddMinutes(30);
        var layers = new JsonObject { ["layers"] = new JsonArray(new JsonObject { ["policy"] = "base-2" }, new JsonObject { ["policy"] = "base-1", ["until"] = until.ToString("yyyy-MM-ddTHH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture) }) };
        (await service.Operator.SendAsync("PUT", "/v1/policies/layered", layers)).Expect(HttpStatusCode.Created);
        var pinned = JsonNode.Parse(await service.Operator.GetStringAsync(new Uri("/v1/policies/layered", UriKind.Relative), TestContext.Current.CancellationToken))!;
        Assert.Equal(DigestOf(old), pinned["layers"]![1]!["digest"]!.GetValue<string>());

        (await service.Operator.SendAsync("PATCH", "/v1/nodes/node", """{"runtimePolicy":"layered"}""")).Expect(HttpStatusCode.OK);
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());

        // What a layer's name means later changes nothing here; what runs out does.
        (await service.Operator.SendAsync("PUT", "/v1/policies/base-1", Text("/nothing"))).Expect(HttpStatusCode.OK);
        service.Clock.Advance(TimeSpan.FromMinutes(2));
        await agent.MeasureAsync("/usr/bin/new");
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        service.Clock.Advance(TimeSpan.FromMinutes(31));
        await agent.AuthenticateAsync();
        await agent.MeasureAsync("/usr/bin/tool1"); // known to the layer that has run out
        await agent.MeasureAsync("/usr/bin/evil"); // known to nobody
        var verdict = await agent.AttestAsync();
        Assert.Equal(0, verdict["findings"]!.AsArray().Count(f => f!["code"]!.GetValue<string>() is not ("ima.stale" or "ima.not_in_policy"))); // lines that had passed are judged again
        Assert.Contains("/usr/bin/tool1", verdict.ToJsonString(), StringComparison.Ordinal);
        Assert.Equal("ima.not_in_policy", verdict["findings"]!.AsArray()[^1]!["code"]!.GetValue<string>());
    }

    [Theory]
    [InlineData("""{"layers":[]}""", "$.layers")]
    [InlineData("""{"layers":[{"policy":"missing"}]}""", "missing")]
    [InlineData("""{"layers":[{"policy":"looped"}]}""", "itself")]
    [InlineData("""{"layers":[{"policy":"above"}]}""", "cycle")]
    [InlineData("""{"layers":[{"policy":"base","unknown":1}]}""", "$.layers[0]")]
    [InlineData("""{"layers":[{"policy":"base","until":"tomorrow"}]}""", "until")]
    [InlineData("""{"layers":[{"policy":"base","digest":"00"}]}""", "digest")]
    [InlineData("""{"layers":[{"policy":"base","digest":"0000000000000000000000000000000000000000000000000000000000000000"}]}""", "there is no policy's text")]
    public async Task Layers_that_cannot_be_are_refused_with_the_place(string text, string says)
    {
        await using var service = await TestService.StartAsync();
        (await service.Operator.SendAsync("PUT", "/v1/policies/base", Text("/a"))).Expect(HttpStatusCode.Created);
        (await service.Operator.SendAsync("PUT", "/v1/policies/looped", """{"layers":[{"policy":"base"}]}""")).Expect(HttpStatusCode.Created);
        (await service.Operator.SendAsync("PUT", "/v1/policies/above", """{"layers":[{"policy":"looped"}]}""")).Expect(HttpStatusCode.Created);
        var refused = await service.Operator.SendAsync("PUT", "/v1/policies/looped", text);
        Assert.Equal(HttpStatusCode.BadRequest, refused.Status);
        Assert.Contains(says, refused.Json["detail"]!.GetValue<string>(), StringComparison.Ordinal);
        Assert.Single((await service.Operator.SendAsync("GET", "/v1/policies/looped/versions")).Json["versions"]!.AsArray()); // nothing was stored
    }

    [Fact]
    public async Task Whoever_puts_or_signs_a_policy_does_not_approve_it()
    {
        await using var service = await TestService.StartAsync(configure: o => o with { RequirePolicyApproval = true });
        using var approver = service.CreateClient(service.TokenOf("approver"));
        using var auditor = service.CreateClient(service.TokenOf("auditor"));
        var text = Text("/usr/bin/a");
        var put = (await service.Operator.SendAsync("PUT", "/v1/policies/web", text)).Expect(HttpStatusCode.Created);
        Assert.Null(put["digest"]);
        Assert.Equal(DigestOf(text), put["proposedDigest"]!.GetValue<string>());

        var approval = new JsonObject { ["digest"] = DigestOf(text) };
        Assert.Equal(HttpStatusCode.Forbidden, (await auditor.SendAsync("POST", "/v1/policies/web/approve", approval)).Status);
        Assert.Contains("somebody else approves it", (await service.Operator.SendAsync("POST", "/v1/policies/web/approve", approval)).Text, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.Conflict, (await approver.SendAsync("POST", "/v1/policies/web/approve", new JsonObject { ["digest"] = new string('0', 64) })).Status);
        var approved = (await approver.SendAsync("POST", "/v1/policies/web/approve", approval)).Expect(HttpStatusCode.OK);
        Assert.Equal(DigestOf(text), approved["digest"]!.GetValue<string>());
        (await approver.SendAsync("POST", "/v1/policies/web/approve", approval)).Expect(HttpStatusCode.OK); // once more does no harm
        var version = (await auditor.SendAsync("GET", "/v1/policies/web/versions")).Expect(HttpStatusCode.OK)["versions"]![0]!;
        Assert.Equal(("token operator", "token approver"), (version["putBy"]!.GetValue<string>(), version["approvedBy"]!.GetValue<string>()));
    }

    [Fact]
    public async Task A_policy_that_waits_judges_nobody()
    {
        await using var service = await TestService.StartAsync(configure: o => o with { RequirePolicyApproval = true });
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var verdict = await agent.AttestAsync();
        Assert.Equal(("fail", "policy.missing"), (verdict["evaluation"]!.GetValue<string>(), verdict["findings"]![0]!["code"]!.GetValue<string>()));
    }

    [Fact]
    public async Task Where_signatures_are_required_only_a_trusted_signer_makes_a_policy()
    {
        await using var service = await TestService.StartAsync(configure: o => o with { RequireSignedPolicies = true });
        using var approver = service.CreateClient(service.TokenOf("approver"));
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var other = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var text = Text("/usr/bin/a");
        Assert.Contains("not signed", (await service.Operator.SendAsync("PUT", "/v1/policies/web", text)).Text, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Operator.SendAsync("PUT", "/v1/policies/web", Signed(text, key))).Status); // nobody is trusted

        // An operator puts policies, and does not choose whose signatures count.
        Assert.Equal(HttpStatusCode.Forbidden, (await service.Operator.SendAsync("PUT", "/v1/policy-signers/alice", key.ExportSubjectPublicKeyInfoPem(), "application/x-pem-file")).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await approver.SendAsync("PUT", "/v1/policy-signers/alice", "no key", "application/x-pem-file")).Status);
        (await approver.SendAsync("PUT", "/v1/policy-signers/alice", key.ExportSubjectPublicKeyInfoPem(), "application/x-pem-file")).Expect(HttpStatusCode.OK);

        Assert.Equal(HttpStatusCode.BadRequest, (await service.Operator.SendAsync("PUT", "/v1/policies/web", Signed(text, other))).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Operator.SendAsync("PUT", "/v1/policies/web", Altered(Signed(text, key)))).Status);
        var put = (await service.Operator.SendAsync("PUT", "/v1/policies/web", Signed(text, key))).Expect(HttpStatusCode.Created);
        Assert.Equal("alice", put["signers"]!.AsArray().Single()!.GetValue<string>());

        // The signer is trusted no more: what they signed judges nobody, whenever it was put.
        using var agent = new TestAgent(service, "node");
        await agent.Ima.StartAsync(TestContext.Current.CancellationToken);
        await agent.RegisterAsync();
        (await service.Operator.SendAsync("PUT", "/v1/nodes/node", """{"runtimePolicy":"web"}""")).Expect(HttpStatusCode.Created);
        await agent.AuthenticateAsync();
        Assert.NotEqual("policy.missing", (await agent.AttestAsync())["findings"]!.AsArray().FirstOrDefault()?["code"]!.GetValue<string>());
        Assert.Equal(HttpStatusCode.NoContent, (await approver.SendAsync("DELETE", "/v1/policy-signers/alice")).Status);
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        Assert.Equal("policy.missing", (await agent.AttestAsync())["findings"]![0]!["code"]!.GetValue<string>());
    }

    [Fact]
    public async Task A_draft_is_tried_against_what_nodes_proved_and_changes_nothing()
    {
        await using var service = await TestService.StartAsync();
        using var good = await TestAgent.EnrolledAsync(service, "good");
        using var bad = await TestAgent.EnrolledAsync(service, "bad");
        using var quiet = await TestAgent.EnrolledAsync(service, "quiet"); // has not attested
        await good.AttestAsync();
        await bad.AttestAsync();
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        await bad.MeasureAsync("/usr/bin/later");
        await bad.AttestAsync(); // fails by its policy, and is proven all the same

        var text = await service.Operator.GetStringAsync(new Uri("/v1/policies/good", UriKind.Relative), TestContext.Current.CancellationToken);
        var draft = (await service.Operator.SendAsync("POST", "/v1/policy-drafts", text)).Expect(HttpStatusCode.OK)["digest"]!.GetValue<string>();
        Assert.Equal(DigestOf(text), draft);
        var trials = (await service.Operator.SendAsync("GET", $"/v1/policy-drafts/{draft}/trials")).Expect(HttpStatusCode.OK)["trials"]!.AsArray()
            .ToDictionary(t => t!["node"]!.GetValue<string>(), t => t!);
        Assert.Equal("pass", trials["good"]["outcome"]!.GetValue<string>());
        Assert.Equal("no-evidence", trials["quiet"]["outcome"]!.GetValue<string>());
        Assert.Equal(("fail", "/usr/bin/later"), (trials["bad"]["outcome"]!.GetValue<string>(), trials["bad"]["findings"]![0]!["path"]!.GetValue<string>()));
        Assert.Equal("pass", (await service.Operator.SendAsync("GET", $"/v1/policy-drafts/{draft}/trials?node=good")).Json["trials"]![0]!["outcome"]!.GetValue<string>());
        Assert.Equal(HttpStatusCode.NotFound, (await service.Operator.SendAsync("GET", $"/v1/policy-drafts/{new string('0', 64)}/trials")).Status);
        Assert.Equal(2, (await bad.NodeAsync())["node"]!["attestations"]!.GetValue<int>());
    }

    [Fact]
    public async Task A_boot_draft_is_tried_too()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await BootTests.BootedAsync(service);
        await agent.AttestAsync();
        Assert.Equal("pass", await OutcomeAsync(BootTests.Policy()));
        Assert.Equal("fail", await OutcomeAsync(BootTests.Policy().Replace("quiet", "verbose", StringComparison.Ordinal)));

        async Task<string> OutcomeAsync(string text)
        {
            var draft = (await service.Operator.SendAsync("POST", "/v1/policy-drafts", text)).Expect(HttpStatusCode.OK)["digest"]!.GetValue<string>();
            return (await service.Operator.SendAsync("GET", $"/v1/policy-drafts/{draft}/trials?node={agent.Id}")).Json["trials"]![0]!["outcome"]!.GetValue<string>();
        }
    }

    [Fact]
    public async Task A_node_gets_other_policies_without_a_new_enrolment()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();
        (await service.Operator.SendAsync("PUT", "/v1/policies/strict", Text("/usr/bin/a"))).Expect(HttpStatusCode.Created);
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Operator.SendAsync("PATCH", "/v1/nodes/node", """{"runtimePolicy":"missing"}""")).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Operator.SendAsync("PATCH", "/v1/nodes/node", """{"bootPolicy":"strict"}""")).Status); // a runtime policy
        Assert.Equal(HttpStatusCode.NotFound, (await service.Operator.SendAsync("PATCH", "/v1/nodes/nobody", """{"intervalSeconds":30}""")).Status);
        var updated = (await service.Operator.SendAsync("PATCH", "/v1/nodes/node", """{"runtimePolicy":"strict","intervalSeconds":30}""")).Expect(HttpStatusCode.OK);
        Assert.Equal(("strict", 30), (updated["node"]!["runtimePolicy"]!.GetValue<string>(), updated["node"]!["intervalSeconds"]!.GetValue<int>()));
        (await service.Operator.SendAsync("PATCH", "/v1/nodes/node", """{"runtimePolicy":"strict"}""")).Expect(HttpStatusCode.OK); // once more
        var events = (await service.Operator.SendAsync("GET", "/v1/nodes/node/events")).Json["events"]!.AsArray();
        Assert.Single(events, e => e!["type"]!.GetValue<string>() == "node.changed");

        // The lines that the old policy passed are judged anew.
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        var asked = await agent.AskedAsync();
        Assert.Equal(0, asked.Offset);
        Assert.Equal("fail", (await agent.SubmitAsync(asked, agent.Collect(asked))).Json["data"]!["attributes"]!["evaluation"]!.GetValue<string>());
        (await service.Operator.SendAsync("PATCH", "/v1/nodes/node", """{"runtimePolicy":""}""")).Expect(HttpStatusCode.OK);
        Assert.Null((await agent.NodeAsync())["node"]!["runtimePolicy"]);
    }

    private static string Text(string path) => new JsonObject
    {
        ["meta"] = new JsonObject { ["version"] = 1 },
        ["release"] = 0,
        ["digests"] = new JsonObject { [path] = new JsonArray(Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(path)))) },
        ["excludes"] = new JsonArray(),
        ["keyrings"] = new JsonObject(),
        ["ima"] = new JsonObject { ["ignored_keyrings"] = new JsonArray(), ["log_hash_alg"] = "sha1", ["dm_policy"] = null },
        ["ima-buf"] = new JsonObject(),
        ["verification-keys"] = "",
    }.ToJsonString();

    private static string DigestOf(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    private static string Signed(string text, ECDsa key)
    {
        Assert.True(DsseSigner.TryCreate(key.ExportPkcs8PrivateKeyPem(), default, out var signer, out var error), error);
        using (signer)
            return Encoding.UTF8.GetString(DsseEnvelope.Sign(DsseEnvelope.RuntimePolicyType, Encoding.UTF8.GetBytes(text), signer));
    }

    private static string Altered(string envelope)
    {
        var json = JsonNode.Parse(envelope)!;
        var payload = Encoding.UTF8.GetString(Convert.FromBase64String(json["payload"]!.GetValue<string>()));
        json["payload"] = Convert.ToBase64String(Encoding.UTF8.GetBytes(payload.Replace("/usr/bin/a", "/usr/bin/b", StringComparison.Ordinal)));
        return json.ToJsonString();
    }
}
