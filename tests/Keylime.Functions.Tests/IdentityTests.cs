using System.Net;
using System.Text;
using System.Text.Json.Nodes;
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

        await service.TrustAsync(intermediate.ExportCertificatePem());
        Assert.Contains("CN=Test TPM root, O=Maker' is missing", JsonNode.Parse((await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration())).Text)!["status"]!.GetValue<string>(), StringComparison.Ordinal);
        await service.TrustAsync(TestCertificates.Root.ExportCertificatePem());
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
        await service.TrustAsync(TestCertificates.Root.ExportCertificatePem() + "\n" + TestCertificates.OtherRoot.ExportCertificatePem());
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
        await service.PutRuleAsync("a-maker", new JsonObject { ["kind"] = "certificate", ["manufacturer"] = "id:494E5443" });
        await service.PutRuleAsync("b-list", new JsonObject { ["kind"] = "ek-list", ["node"] = new JsonObject { ["intervalSeconds"] = 7 } });
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
        await service.TrustAsync(TestCertificates.Root.ExportCertificatePem() + "\n" + TestCertificates.OtherRoot.ExportCertificatePem());
        await service.PutRuleAsync("maker", new JsonObject { ["kind"] = "certificate", ["issuer"] = "O=Maker", ["manufacturer"] = "id:4b4c4d00", ["model"] = "KT-", ["version"] = "ID:00020000", ["idPrefix"] = "rack-" });
        (string Id, EndorsementShape Shape, bool Other, bool Admitted)[] cases =
        [
            ("rack-1", new(), false, true),
            ("desk-1", new(), false, false),
            ("rack-2", new(), true, false),
            ("rack-3", new() { Manufacturer = "id:494E5443" }, false, false),
            ("rack-4", new() { Model = "XT-2" }, false, false),
            ("rack-5", new() { Version = "id:00010000" }, false, false),
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
    [InlineData("""{"kind":"webhook","url":"https://example.org/","version":"id:00020000"}""")]
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
    public async Task An_endorsement_key_on_the_list_is_taken_where_every_key_is()
    {
        await using var service = await TestService.StartAsync(configure: o => o with { AcceptedIdentities = [Attestation.IdentityLevel.EndorsementKey] });
        using var agent = new TestAgent(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        await agent.ListKeyAsync();
        await agent.RegisterAsync();
        Assert.Equal("ek-list", (await agent.NodeAsync())["node"]!["coverage"]!["identity"]!.GetValue<string>());
    }

    [Fact]
    public async Task A_device_identity_is_known_by_its_IAK()
    {
        await using var service = await StrictAsync();
        await service.TrustAsync(TestCertificates.Root.ExportCertificatePem());
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
        claim["iak_cert"] = Convert.ToBase64String(TestCertificates.IssueDevice(device.AttestationKey).RawData);
        claim["idevid_tpm"] = Convert.ToBase64String(idevidArea.EncodeSized());
        claim["idevid_cert"] = Convert.ToBase64String(TestCertificates.IssueDevice(idevidArea).RawData);
        claim["iak_attest"] = Convert.ToBase64String(message);
        claim["iak_sign"] = Convert.ToBase64String(signature);

        foreach (var (member, value) in ((string, string?)[])
        [
            ("iak_attest", null), ("iak_cert", null), ("idevid_cert", claim["iak_cert"]!.GetValue<string>()), ("iak_tpm", claim["aik_tpm"]!.GetValue<string>()),
            ("iak_cert", Convert.ToBase64String(TestCertificates.IssueDevice(device.AttestationKey, TestCertificates.OtherRoot).RawData)),
            ("iak_sign", Convert.ToBase64String(device.Certify(new byte[32]).Signature)),
            ("iak_cert", Convert.ToBase64String(TestCertificates.IssueDevice(ThatSigns(device.AttestationKey)).RawData)), // of a key that signs anything
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

    private static PublicArea.Rsa ThatSigns(PublicArea key) => key is PublicArea.Rsa rsa
        ? new() { NameAlgorithm = rsa.NameAlgorithm, Attributes = rsa.Attributes & ~ObjectAttributes.Restricted, Scheme = rsa.Scheme, KeyBits = rsa.KeyBits, Modulus = rsa.Modulus }
        : throw new ArgumentException("An RSA key is expected.", nameof(key));

    private static Task<TestService> StrictAsync() => TestService.StartAsync(configure: o => o with { AcceptedIdentities = [] });
}
