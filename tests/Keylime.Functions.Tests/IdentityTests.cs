using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Functions.Hosting;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Functions.Tests;

/// <summary>Who a TPM is, who says so, and who is let in.</summary>
public sealed class IdentityTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task By_default_only_a_certificate_of_a_trusted_root_will_do_and_the_missing_issuer_is_named()
    {
        await using var service = await StrictAsync();
        using var agent = new TestAgent(service, "node");
        var bare = await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration());
        Assert.Equal(HttpStatusCode.Forbidden, bare.Status);
        Assert.Contains("ek.untrusted", bare.Text, StringComparison.Ordinal);

        using var intermediate = TestCertificates.MakeIntermediate();
        agent.EndorsementCertificate = TestCertificates.Issue(agent.Tpm.EndorsementKey, intermediate).ExportCertificatePem();
        var unknown = await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration());
        Assert.Equal(HttpStatusCode.Forbidden, unknown.Status);
        Assert.Contains("CN=Test TPM intermediate, O=Maker' is missing", JsonNode.Parse(unknown.Text)!["status"]!.GetValue<string>(), StringComparison.Ordinal);

        await TrustAsync(service, intermediate.ExportCertificatePem());
        Assert.Contains("CN=Test TPM root, O=Maker' is missing", JsonNode.Parse((await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration())).Text)!["status"]!.GetValue<string>(), StringComparison.Ordinal);
        await TrustAsync(service, TestCertificates.Root.ExportCertificatePem());
        await agent.RegisterAsync();
        Assert.Equal("ek-certificate", (await agent.NodeAsync())["node"]!["coverage"]!["identity"]!.GetValue<string>());
        var types = await service.EventTypesAsync();
        Assert.Contains("registration.identity_refused", types);
        Assert.Contains("registration.activated", types);
    }

    [Fact]
    public async Task Trust_is_listed_and_taken_back()
    {
        await using var service = await StrictAsync();
        await TrustAsync(service, TestCertificates.Root.ExportCertificatePem() + "\n" + TestCertificates.OtherRoot.ExportCertificatePem());
        await File.WriteAllTextAsync(Path.Combine(service.Folder, "trust", "one.pem"), TestCertificates.OtherRoot.ExportCertificatePem(), Cancel);
        var all = (await service.Operator.SendAsync("GET", "/v1/trust")).Expect(HttpStatusCode.OK)["certificates"]!.AsArray();
        Assert.Equal(["folder", "store", "store"], all.Select(c => c!["source"]!.GetValue<string>()).Order());
        var root = all.First(c => c!["subject"]!.GetValue<string>().Contains("Test TPM root", StringComparison.Ordinal))!;
        Assert.True(root["root"]!.GetValue<bool>());

        using var agent = new TestAgent(service, "node");
        agent.EndorsementCertificate = TestCertificates.Issue(agent.Tpm.EndorsementKey).ExportCertificatePem();
        (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration())).Expect(HttpStatusCode.OK);
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(HttpStatusCode.NoContent, (await service.Operator.SendAsync("DELETE", $"/v1/trust/{root["thumbprint"]!.GetValue<string>()}")).Status);
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(HttpStatusCode.NotFound, (await service.Operator.SendAsync("DELETE", $"/v1/trust/{root["thumbprint"]!.GetValue<string>()}")).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration())).Status);

        // what vouches for nobody is not taken, nor is what is no certificate
        var leaf = TestCertificates.Issue(agent.Tpm.EndorsementKey);
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Operator.SendAsync("POST", "/v1/trust", leaf.ExportCertificatePem(), "application/x-pem-file")).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Operator.SendAsync("POST", "/v1/trust", "hello", "application/x-pem-file")).Status);
        (await service.Operator.SendAsync("POST", "/v1/trust", TestCertificates.Root.RawData, "application/pkix-cert")).Expect(HttpStatusCode.OK);
        Assert.Equal(4, (await service.EventTypesAsync("/v1/events")).Count(t => t == "trust.changed"));
    }

    [Fact]
    public async Task The_weaker_ways_are_marked_in_every_verdict()
    {
        await using var service = await TestService.StartAsync();
        using var listed = new TestAgent(service, "listed", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        await listed.ListKeyAsync();
        using var nobody = new TestAgent(service, "nobody", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        foreach (var (agent, identity) in ((TestAgent, string)[])[(listed, "ek-list"), (nobody, "ek-key")])
        {
            await agent.Ima.StartAsync(Cancel);
            await agent.EnrolAsync();
            await agent.AuthenticateAsync();
            Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
            Assert.Equal(identity, (await agent.NodeAsync())["lastVerdict"]!["coverage"]!["identity"]!.GetValue<string>());
        }
    }

    [Fact]
    public async Task A_node_that_no_rule_admits_waits_says_why_and_cannot_attest()
    {
        await using var service = await TestService.StartAsync();
        await PutRuleAsync(service, "a-maker", new JsonObject { ["kind"] = "certificate", ["manufacturer"] = "id:494E5443" });
        await PutRuleAsync(service, "b-list", new JsonObject { ["kind"] = "ek-list", ["node"] = new JsonObject { ["intervalSeconds"] = 7 } });
        using var agent = new TestAgent(service, "node");
        await agent.RegisterAsync();
        var reason = (await agent.NodeAsync())["node"]!["reason"]!.GetValue<string>();
        Assert.Contains("a-maker: it has no endorsement certificate of a trusted root.", reason, StringComparison.Ordinal);
        Assert.Contains($"b-list: its endorsement key {agent.EndorsementKeyHash} is not on the list.", reason, StringComparison.Ordinal);
        var list = (await service.Operator.SendAsync("GET", "/v1/nodes?state=pending")).Expect(HttpStatusCode.OK)["nodes"]!.AsArray();
        Assert.Equal("node", list.Single()!["id"]!.GetValue<string>());
        var (session, challenge) = await agent.OpenSessionAsync();
        Assert.Equal("fail", (await agent.ProveAsync(session, agent.Proof(challenge))).Expect(HttpStatusCode.OK)["data"]!["attributes"]!["evaluation"]!.GetValue<string>());

        // As soon as its key is on the list the next registration, which the agent makes by itself, admits it.
        await agent.ListKeyAsync();
        await agent.RegisterAsync();
        var node = (await agent.NodeAsync())["node"]!;
        Assert.Equal((7, "Enrolled, and not attested yet."), (node["intervalSeconds"]!.GetValue<int>(), node["reason"]!.GetValue<string>()));
        await agent.AuthenticateAsync();
        await service.ToldOnceAsync("node.pending", "node.enrolled", "registration.activated");
    }

    [Fact]
    public async Task A_rule_by_issuer_and_maker_admits_whom_it_names_and_no_other()
    {
        await using var service = await StrictAsync();
        await TrustAsync(service, TestCertificates.Root.ExportCertificatePem() + "\n" + TestCertificates.OtherRoot.ExportCertificatePem());
        await PutRuleAsync(service, "maker", new JsonObject { ["kind"] = "certificate", ["issuer"] = "O=Maker", ["manufacturer"] = "id:4b4c4d00", ["model"] = "KT-", ["idPrefix"] = "rack-" });
        (string Id, EndorsementShape Shape, bool Other, bool Admitted)[] cases =
        [
            ("rack-1", new(), false, true),
            ("desk-1", new(), false, false),
            ("rack-2", new(), true, false),
            ("rack-3", new() { Manufacturer = "id:494E5443" }, false, false),
            ("rack-4", new() { Model = "XT-2" }, false, false),
        ];
        foreach (var (id, shape, other, admitted) in cases)
        {
            using var agent = new TestAgent(service, id, new SoftwareTpm(TpmAlgorithm.Ecdsa));
            agent.EndorsementCertificate = TestCertificates.Issue(agent.Tpm.EndorsementKey, other ? TestCertificates.OtherRoot : null, shape).ExportCertificatePem();
            await agent.RegisterAsync();
            Assert.Equal(admitted, (await agent.NodeAsync())["node"]!["reason"]!.GetValue<string>() == "Enrolled, and not attested yet.");
        }
    }

    [Theory]
    [InlineData("""{"kind":"certificate"}""")]
    [InlineData("""{"kind":"certificate","model":"x"}""")]
    [InlineData("""{"kind":"ek-list","issuer":"x"}""")]
    [InlineData("""{"kind":"webhook"}""")]
    [InlineData("""{"kind":"webhook","url":"http://example.org/"}""")]
    [InlineData("""{"kind":"webhook","url":"https://user@example.org/"}""")]
    [InlineData("""{"kind":"webhook","url":"https://example.org/","timeoutSeconds":60}""")]
    [InlineData("""{"kind":"webhook","url":"https://example.org/","secret":"short"}""")]
    [InlineData("""{"kind":"everybody"}""")]
    [InlineData("""{"kind":"ek-list","node":{"runtimePolicy":"missing"}}""")]
    [InlineData("""{"kind":"ek-list","node":{"attestationKeyName":"000b"}}""")]
    [InlineData("""{"kind":"ek-list","unknown":1}""")]
    public async Task A_rule_that_is_none_is_refused(string rule)
    {
        await using var service = await TestService.StartAsync();
        var reply = await service.Operator.SendAsync("PUT", "/v1/enrolment-rules/r", rule);
        Assert.Equal(HttpStatusCode.BadRequest, reply.Status);
        Assert.NotEmpty(reply.Json["detail"]!.GetValue<string>());
        Assert.Empty((await service.Operator.SendAsync("GET", "/v1/enrolment-rules")).Json["rules"]!.AsArray());
    }

    [Theory]
    [InlineData("""{"admit":true}""", 200, 0, true, "")]
    [InlineData("""{"admit":false,"reason":"not ours"}""", 200, 0, false, "its webhook says no: not ours")]
    [InlineData("""{"admit":true}""", 500, 0, false, "its webhook answered 500.")]
    [InlineData("""{"admit":true}""", 302, 0, false, "redirects are not followed")]
    [InlineData("""{"admit":"true"}""", 200, 0, false, "not the JSON that is expected")]
    [InlineData("", 200, 0, false, "not the JSON that is expected")]
    [InlineData("""{"admit":true}""", 200, 3000, false, "did not answer within 1 s")]
    public async Task A_webhook_decides_if_it_answers_in_time(string answer, int status, int delay, bool admitted, string why)
    {
        await using var hook = await HookServer.StartAsync(status, answer, delay);
        await using var service = await TestService.StartAsync(configure: o => o with { AllowedOutbound = [hook.Authority] });
        var put = (await service.Operator.SendAsync("PUT", "/v1/enrolment-rules/hook", new JsonObject { ["kind"] = "webhook", ["url"] = hook.Url, ["timeoutSeconds"] = 1 })).Expect(HttpStatusCode.OK);
        var secret = Convert.FromBase64String(put["rule"]!["secret"]!.GetValue<string>()["whsec_".Length..]);
        Assert.Null((await service.Operator.SendAsync("GET", "/v1/enrolment-rules")).Json["rules"]![0]!["rule"]!["secret"]); // told once
        using var agent = new TestAgent(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        await agent.RegisterAsync();

        var reason = (await agent.NodeAsync())["node"]!["reason"]!.GetValue<string>();
        Assert.Equal(admitted, reason == "Enrolled, and not attested yet.");
        Assert.Contains(why, reason, StringComparison.Ordinal);
        var (headers, body) = Assert.Single(hook.Requests);
        var signed = System.Security.Cryptography.HMACSHA256.HashData(secret, Encoding.UTF8.GetBytes($"{headers["webhook-id"]}.{headers["webhook-timestamp"]}.{body}"));
        Assert.Equal("v1," + Convert.ToBase64String(signed), headers["webhook-signature"]);
        Assert.Equal(("node", agent.EndorsementKeyHash, "ek-key"), (JsonNode.Parse(body)!["id"]!.GetValue<string>(), JsonNode.Parse(body)!["endorsementKeyHash"]!.GetValue<string>(), JsonNode.Parse(body)!["identity"]!.GetValue<string>()));
    }

    [Fact]
    public async Task A_webhook_inside_the_walls_is_not_called()
    {
        await using var hook = await HookServer.StartAsync(200, """{"admit":true}""", 0);
        await using var service = await TestService.StartAsync();
        foreach (var url in (string[])[$"https://{hook.Authority}/", "https://169.254.169.254/", "https://localhost/", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://10.0.0.1/"])
        {
            await PutRuleAsync(service, "hook", new JsonObject { ["kind"] = "webhook", ["url"] = url, ["timeoutSeconds"] = 1 });
            using var agent = new TestAgent(service, $"node-{Guid.NewGuid():N}", new SoftwareTpm(TpmAlgorithm.Ecdsa));
            await agent.RegisterAsync();
            Assert.Contains("has an address that is not public", (await agent.NodeAsync())["node"]!["reason"]!.GetValue<string>(), StringComparison.Ordinal);
        }

        Assert.Empty(hook.Requests);
    }

    [Fact]
    public async Task A_missing_issuer_is_fetched_only_if_that_is_wanted_and_never_trusted_for_having_come()
    {
        using var intermediate = TestCertificates.MakeIntermediate();
        await using var server = await HookServer.StartAsync(200, intermediate.ExportCertificatePem(), 0);
        await using var rootServer = await HookServer.StartAsync(200, TestCertificates.OtherRoot.ExportCertificatePem(), 0);
        foreach (var (fetch, allowed, trusted) in ((bool, bool, bool)[])[(false, true, false), (true, false, false), (true, true, true)])
        {
            await using var service = await TestService.StartAsync(configure: o => o with
            {
                AcceptedIdentities = [],
                FetchIssuers = fetch,
                AllowedOutbound = allowed ? [server.Authority, rootServer.Authority] : [],
            });
            await TrustAsync(service, TestCertificates.Root.ExportCertificatePem());
            using var agent = new TestAgent(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
            agent.EndorsementCertificate = TestCertificates.Issue(agent.Tpm.EndorsementKey, intermediate, new EndorsementShape { IssuerUrl = server.Url }).ExportCertificatePem();
            var reply = await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration());
            Assert.Equal(trusted ? HttpStatusCode.OK : HttpStatusCode.Forbidden, reply.Status);

            // A root that comes over the network is nobody's.
            agent.EndorsementCertificate = TestCertificates.Issue(agent.Tpm.EndorsementKey, TestCertificates.OtherRoot, new EndorsementShape { IssuerUrl = rootServer.Url }).ExportCertificatePem();
            Assert.Equal(HttpStatusCode.Forbidden, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/other", agent.Registration())).Status);
        }

        Assert.NotEmpty(server.Requests);
    }

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
    public async Task A_device_identity_is_known_by_its_IAK()
    {
        await using var service = await StrictAsync();
        await TrustAsync(service, TestCertificates.Root.ExportCertificatePem());
        using var agent = new TestAgent(service, "node");
        using var device = new SoftwareTpm(TpmAlgorithm.RsaPss); // its attestation key is the IAK, its endorsement key no part of this
        using var idevid = System.Security.Cryptography.ECDsa.Create(System.Security.Cryptography.ECCurve.NamedCurves.nistP256);
        var point = idevid.ExportParameters(false).Q;
        var idevidArea = new PublicArea.Ecc
        {
            NameAlgorithm = TpmAlgorithm.Sha256,
            Attributes = ObjectAttributes.FixedTpm | ObjectAttributes.FixedParent | ObjectAttributes.SensitiveDataOrigin | ObjectAttributes.UserWithAuth | ObjectAttributes.Sign,
            Curve = TpmCurve.NistP256,
            X = point.X,
            Y = point.Y,
        };
        var (message, signature) = device.Certify(System.Security.Cryptography.SHA256.HashData("node"u8.ToArray()), agent.Tpm.AttestationKey.ComputeName());
        var claim = agent.Registration();
        claim["iak_tpm"] = Convert.ToBase64String(device.AttestationKey.EncodeSized());
        claim["iak_cert"] = Convert.ToBase64String(TestCertificates.Issue(device.AttestationKey).RawData);
        claim["idevid_tpm"] = Convert.ToBase64String(idevidArea.EncodeSized());
        claim["idevid_cert"] = Convert.ToBase64String(TestCertificates.Issue(idevidArea).RawData);
        claim["iak_attest"] = Convert.ToBase64String(message);
        claim["iak_sign"] = Convert.ToBase64String(signature);

        foreach (var (member, value) in ((string, string?)[])
        [
            ("iak_attest", null), ("iak_cert", null), ("idevid_cert", claim["iak_cert"]!.GetValue<string>()), ("iak_tpm", claim["aik_tpm"]!.GetValue<string>()),
            ("iak_cert", Convert.ToBase64String(TestCertificates.Issue(device.AttestationKey, TestCertificates.OtherRoot).RawData)),
            ("iak_sign", Convert.ToBase64String(device.Certify(new byte[32]).Signature)),
        ])
        {
            var wrong = claim.DeepClone();
            wrong[member] = value;
            var refused = await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", wrong);
            Assert.True(refused.Status is HttpStatusCode.BadRequest or HttpStatusCode.Forbidden, $"{member}: {refused.Status} {refused.Text}");
        }

        // certified for another id
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/other", claim)).Status);
        var blob = (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", claim)).Expect(HttpStatusCode.OK)["results"]!["blob"]!.GetValue<string>();
        (await service.Anonymous.SendAsync("PUT", "/v2.6/agents/node", new JsonObject { ["auth_tag"] = agent.Tag(blob) })).Expect(HttpStatusCode.OK);
        Assert.Equal("iak-certificate", (await agent.NodeAsync())["node"]!["coverage"]!["identity"]!.GetValue<string>());
    }

    [Theory]
    [InlineData("8.8.8.8", true)]
    [InlineData("127.0.0.1", false)]
    [InlineData("0.0.0.0", false)]
    [InlineData("10.1.2.3", false)]
    [InlineData("100.64.0.1", false)]
    [InlineData("169.254.169.254", false)]
    [InlineData("168.63.129.16", false)]
    [InlineData("172.16.0.1", false)]
    [InlineData("172.32.0.1", true)]
    [InlineData("192.168.1.1", false)]
    [InlineData("198.18.0.1", false)]
    [InlineData("224.0.0.1", false)]
    [InlineData("255.255.255.255", false)]
    [InlineData("::1", false)]
    [InlineData("::", false)]
    [InlineData("fe80::1", false)]
    [InlineData("fd00::1", false)]
    [InlineData("ff02::1", false)]
    [InlineData("2001:db8::1", false)]
    [InlineData("2606:4700::1111", true)]
    [InlineData("::ffff:127.0.0.1", false)]
    [InlineData("::ffff:8.8.8.8", true)]
    [InlineData("64:ff9b::7f00:1", false)]
    [InlineData("64:ff9b::808:808", true)]
    [InlineData("2002:7f00:1::", false)]
    public void Addresses_inside_the_walls_are_told_from_public_ones(string address, bool isPublic) =>
        Assert.Equal(isPublic, Outbound.IsPublic(IPAddress.Parse(address)));

    private static Task<TestService> StrictAsync() => TestService.StartAsync(configure: o => o with { AcceptedIdentities = [] });

    private static async Task TrustAsync(TestService service, string pem) =>
        (await service.Operator.SendAsync("POST", "/v1/trust", pem, "application/x-pem-file")).Expect(HttpStatusCode.OK);

    private static async Task PutRuleAsync(TestService service, string name, JsonObject rule) =>
        (await service.Operator.SendAsync("PUT", $"/v1/enrolment-rules/{name}", rule)).Expect(HttpStatusCode.OK);
}
