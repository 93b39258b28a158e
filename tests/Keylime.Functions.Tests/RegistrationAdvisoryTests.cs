using System.Net;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Functions.Tests;

/// <summary>Who a node is: bugs that peers shipped in registration and identity, each by its advisory's number.</summary>
public sealed class RegistrationAdvisoryTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task CVE_2021_3406_GHSA_78f8_6c68_375m_three_endorsement_keys_that_disagree()
    {
        await using var service = await TestService.StartAsync(configure: o => o with { AcceptedIdentities = [] });
        (await service.Operator.SendAsync("POST", "/v1/trust", TestCertificates.Root.ExportCertificatePem(), "application/x-pem-file")).Expect(HttpStatusCode.OK);
        using var agent = new TestAgent(service, "node");
        using var other = new SoftwareTpm();
        agent.EndorsementCertificate = TestCertificates.Issue(other.EndorsementKey).ExportCertificatePem(); // good, and of another TPM
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration())).Status);

        // The EK and its certificate of one TPM, the AK of another: only a TPM with both opens the credential.
        agent.EndorsementCertificate = TestCertificates.Issue(agent.Tpm.EndorsementKey).ExportCertificatePem();
        var claim = agent.Registration();
        claim["aik_tpm"] = Convert.ToBase64String(other.AttestationKey.EncodeSized());
        var blob = CredentialBlob.Parse(Convert.FromBase64String((await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", claim)).Expect(HttpStatusCode.OK)["results"]!["blob"]!.GetValue<string>()));
        Assert.Throws<CryptographicException>(() => agent.Tpm.ActivateCredential(blob));
        Assert.ThrowsAny<CryptographicException>(() => other.ActivateCredential(blob));
        Assert.Equal(HttpStatusCode.Conflict, (await service.Operator.SendAsync("PUT", "/v1/nodes/node", "{}")).Status);
    }

    [Fact]
    public async Task CVE_2022_1053_GHSA_jf66_3q76_h5p5_the_key_that_was_approved_is_the_key_that_counts()
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "node");
        await agent.Ima.StartAsync(Cancel);
        await agent.EnrolAsync();

        // Between approval and the first attestation: the registration is forgotten, and another TPM claims the id.
        (await service.Operator.SendAsync("DELETE", "/v2.6/agents/node")).Expect(HttpStatusCode.OK);
        using var thief = new TestAgent(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        await thief.RegisterAsync();
        var (session, challenge) = await thief.OpenSessionAsync();
        Assert.Equal(HttpStatusCode.Unauthorized, (await thief.ProveAsync(session, thief.Proof(challenge))).Status);
        await agent.AuthenticateAsync();
        var verdict = await agent.AttestAsync();
        Assert.Equal("pass", verdict["evaluation"]!.GetValue<string>());
        Assert.Equal(Convert.ToHexStringLower(agent.Tpm.AttestationKey.ComputeName()), (await agent.NodeAsync())["lastVerdict"]!["attestationKeyName"]!.GetValue<string>());
    }

    [Fact]
    public async Task CVE_2023_38201_GHSA_f4r5_q63f_gcww_one_try_and_no_oracle()
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "node");
        var right = agent.Tag((await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration())).Expect(HttpStatusCode.OK)["results"]!["blob"]!.GetValue<string>());
        var wrong = await service.Anonymous.SendAsync("PUT", "/v2.6/agents/node", new JsonObject { ["auth_tag"] = right[..^1] + (right[^1] == '0' ? '1' : '0') });
        Assert.Equal(HttpStatusCode.BadRequest, wrong.Status);
        Assert.DoesNotContain(right[..16], wrong.Text, StringComparison.OrdinalIgnoreCase);
        Assert.All(service.Log.All, line => Assert.DoesNotContain(right[..16], line, StringComparison.OrdinalIgnoreCase));
        Assert.Equal(HttpStatusCode.NotFound, (await service.Anonymous.SendAsync("PUT", "/v2.6/agents/node", new JsonObject { ["auth_tag"] = right })).Status);
    }

    [Fact]
    public async Task CVE_2025_13609_GHSA_xh5w_g8gq_r3v9_an_id_is_not_taken_over_by_another_TPM()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        using var thief = new TestAgent(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        Assert.Equal(HttpStatusCode.Forbidden, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", thief.Registration())).Status);
        Assert.Contains("registration.identity_conflict", await service.EventTypesAsync());
        Assert.Equal(agent.Registration()["ek_tpm"]!.GetValue<string>(), (await service.Operator.SendAsync("GET", "/v2.6/agents/node")).Json["results"]!["ek_tpm"]!.GetValue<string>());
        await agent.RegisterAsync(); // the same TPM again changes nothing
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
    }

    [Theory]
    [InlineData("a\r\nWARN forged")]
    [InlineData("a\u001b[2J")]
    [InlineData("a\u202eb")]
    [InlineData("a/b")]
    [InlineData("a#b")]
    [InlineData("a?b")]
    [InlineData("a\\b")]
    [InlineData("10kB")]
    public async Task CVE_2022_23949_GHSA_87gh_qc28_j9mm_an_id_forges_no_log_line(string id)
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, id == "10kB" ? new string('a', 10_000) : id);
        var claim = agent.Registration();
        claim["agent_id"] = agent.Id;
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Anonymous.SendAsync("POST", "/v2.6/agents", claim)).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Anonymous.SendAsync("POST", "/v3.0/sessions", agent.SessionRequest(), Http.JsonApi)).Status);
        foreach (var client in (HttpClient[])[service.Anonymous, service.Operator])
        {
            foreach (var (method, path) in ((string, string)[])[("POST", "/v2.6/agents/"), ("PUT", "/v2.6/agents/"), ("GET", "/v1/nodes/")])
            {
                var status = (int)(await client.SendAsync(method, path + Uri.EscapeDataString(agent.Id), method == "GET" ? null : claim)).Status;
                Assert.True(status is >= 400 and < 500, $"{method} {path}: {status}");
            }
        }

        Assert.Empty((await service.Operator.SendAsync("GET", "/v2.6/agents")).Json["results"]!["uuids"]!.AsArray());
        Assert.All(service.Log.All, line => Assert.DoesNotContain(agent.Id, line, StringComparison.Ordinal));
    }

    [Fact]
    public async Task GHSA_w7wm_2425_7p2h_GHSA_vqv5_385r_2hf8_who_lost_its_key_comes_back_by_a_proof_and_an_approval_only()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        using var stranger = new TestAgent(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        var lost = agent.WithNewKey();
        await lost.RegisterAsync();
        var name = Convert.ToHexStringLower(lost.Tpm.AttestationKey.ComputeName());
        var approval = new JsonObject { ["attestationKeyName"] = name };

        // Neither the node itself, nor a stranger in its name, nor an auditor gets the new key in, by any of the ways that change a node.
        using var auditor = service.CreateClient(service.TokenOf("auditor"));
        using var node = service.CreateClient(agent.Token);
        foreach (var client in (HttpClient[])[service.Anonymous, node, auditor])
        {
            foreach (var (method, path) in ((string, string)[])[("POST", "/v1/nodes/node/approve"), ("POST", "/v1/nodes/node/reactivate"), ("PUT", "/v1/nodes/node"), ("DELETE", "/v2.6/agents/node"), ("POST", "/v1/nodes/node/retire")])
                Assert.True((await client.SendAsync(method, path, approval)).Status is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden, $"{method} {path}");
        }

        foreach (var other in (TestAgent[])[lost, stranger])
        {
            service.Clock.Advance(TimeSpan.FromSeconds(1));
            var (session, challenge) = await other.OpenSessionAsync();
            Assert.Equal(HttpStatusCode.Unauthorized, (await other.ProveAsync(session, other.Proof(challenge))).Status);
        }

        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        using var approver = service.CreateClient(service.TokenOf("approver"));
        (await approver.SendAsync("POST", "/v1/nodes/node/approve", approval)).Expect(HttpStatusCode.OK);
        await lost.AuthenticateAsync();
    }

    [Fact]
    public async Task SPIRE_1_14_7_the_certificate_that_is_checked_is_the_one_of_the_key()
    {
        await using var service = await TestService.StartAsync(configure: o => o with { AcceptedIdentities = [] });
        (await service.Operator.SendAsync("POST", "/v1/trust", TestCertificates.Root.ExportCertificatePem(), "application/x-pem-file")).Expect(HttpStatusCode.OK);
        using var agent = new TestAgent(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        using var honest = new SoftwareTpm(TpmAlgorithm.Ecdsa);

        // In one bag: a good certificate of somebody else, and one for the own key that nobody signed.
        var good = TestCertificates.Issue(honest.EndorsementKey).ExportCertificatePem();
        var own = TestCertificates.Issue(agent.Tpm.EndorsementKey, TestCertificates.OtherRoot).ExportCertificatePem();
        foreach (var bag in (string[])[good + "\n" + own, own + "\n" + good, good])
        {
            agent.EndorsementCertificate = bag;
            var reply = await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration());
            Assert.Equal(bag == good ? HttpStatusCode.BadRequest : HttpStatusCode.Forbidden, reply.Status);
            Assert.Contains(bag == good ? "ek.certificate_mismatch" : "ek.untrusted", reply.Text, StringComparison.Ordinal);
        }

        // The bag is not what it is about: with a good one of its own among others, it is let in.
        agent.EndorsementCertificate = good + "\n" + TestCertificates.Issue(agent.Tpm.EndorsementKey).ExportCertificatePem();
        await agent.RegisterAsync();
    }

    [Fact]
    public async Task CVE_2026_24122_a_certificate_outside_its_time_is_none()
    {
        await using var service = await TestService.StartAsync(configure: o => o with { AcceptedIdentities = [] });
        (await service.Operator.SendAsync("POST", "/v1/trust", TestCertificates.Root.ExportCertificatePem(), "application/x-pem-file")).Expect(HttpStatusCode.OK);
        using var agent = new TestAgent(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        var now = service.Clock.GetUtcNow();
        foreach (var shape in (EndorsementShape[])[new() { To = now.AddDays(-1) }, new() { From = now.AddDays(1) }])
        {
            agent.EndorsementCertificate = TestCertificates.Issue(agent.Tpm.EndorsementKey, null, shape).ExportCertificatePem();
            var refused = await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration());
            Assert.Equal(HttpStatusCode.BadRequest, refused.Status);
            Assert.Contains("valid from", refused.Text, StringComparison.Ordinal);
        }

        agent.EndorsementCertificate = TestCertificates.Issue(agent.Tpm.EndorsementKey, null, new() { From = now.AddDays(-1), To = now.AddDays(1) }).ExportCertificatePem();
        await agent.RegisterAsync();
    }

    [Fact]
    public async Task Trustee_samples_a_simulator_is_trusted_by_nobody_unless_the_operator_says_so()
    {
        await using var service = await TestService.StartAsync(configure: o => o with { AcceptedIdentities = [] });
        Assert.False(new Hosting.ServiceOptions().Accepts(Attestation.IdentityLevel.EndorsementKey));
        Assert.Empty((await service.Operator.SendAsync("GET", "/v1/trust")).Expect(HttpStatusCode.OK)["certificates"]!.AsArray());
        using var agent = new TestAgent(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        foreach (var certificate in (string[])["", TestCertificates.Issue(agent.Tpm.EndorsementKey).ExportCertificatePem()])
        {
            agent.EndorsementCertificate = certificate;
            Assert.Equal(HttpStatusCode.Forbidden, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration())).Status);
        }
    }
}
