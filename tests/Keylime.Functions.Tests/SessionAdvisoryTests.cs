using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Functions.Keys;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Functions.Tests;

/// <summary>Sessions, tokens and secrets: bugs that peers shipped there, each by its advisory's number.</summary>
public sealed class SessionAdvisoryTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Keylime_95dff5ea_2a14b452_naming_a_session_does_not_end_it_and_only_hashes_are_kept()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        using var stranger = new TestAgent(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        for (var i = 0; i < 5; i++)
        {
            service.Clock.Advance(TimeSpan.FromSeconds(1));
            var (session, challenge) = await stranger.OpenSessionAsync(); // in the victim's name
            await stranger.ProveAsync(session, stranger.Proof(challenge));
        }

        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        var files = Directory.EnumerateFiles(service.Folder, "keylime.db*").Select(ReadShared).ToArray();
        Assert.Contains(files, bytes => bytes.AsSpan().IndexOf("node"u8) >= 0); // they hold its row
        Assert.All(files, bytes => Assert.Equal(-1, bytes.AsSpan().IndexOf(Encoding.ASCII.GetBytes(agent.Token!.Split('.')[1]))));
    }

    [Fact]
    public async Task SUSE_audit_2022_2b_2d_evidence_is_for_its_agent_and_those_who_may_read()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();
        foreach (var path in (string[])["/v3.0/agents/node/attestations", "/v3.0/agents/node/attestations/0", "/v1/nodes/node/verdicts"])
        {
            Assert.Equal(HttpStatusCode.Unauthorized, (await service.Anonymous.SendAsync("GET", path)).Status);
            using var auditor = service.CreateClient(service.TokenOf("auditor"));
            (await auditor.SendAsync("GET", path)).Expect(HttpStatusCode.OK);
        }
    }

    [Fact]
    public void GHSA_3ccm_4qq2_5wrp_ciphertexts_of_any_length_are_refused()
    {
        var folder = Directory.CreateTempSubdirectory("keys-").FullName;
        var ring = KeyRing.LoadOrCreate(folder);
        var whole = ring.Seal("a", "a secret"u8);
        for (var length = 0; length < whole.Length; length++)
            Assert.Null(ring.Open("a", whole.AsSpan(0, length)));
        Assert.Null(ring.Open("b", whole)); // for another purpose
        Assert.Equal("a secret"u8.ToArray(), ring.Open("a", whole));
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task GHSA_h5f8_crrq_4pw8_no_secret_is_in_what_is_logged()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();
        var created = (await service.Operator.SendAsync("POST", "/v1/tokens", new JsonObject { ["name"] = "ci", ["role"] = "auditor" })).Expect(HttpStatusCode.Created)["token"]!.GetValue<string>();
        string[] secrets = [agent.Token!.Split('.')[1], created.Split('.')[1], service.TokenOf("operator").Split('.')[1]];
        var told = await service.Operator.SendAsync("GET", "/v1/events?limit=1000");
        foreach (var secret in secrets)
        {
            Assert.All(service.Log.All, line => Assert.DoesNotContain(secret, line, StringComparison.Ordinal));
            Assert.DoesNotContain(secret, told.Text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task SPIRE_1_14_6_identity_is_read_from_what_was_proven_and_a_proof_counts_once()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        using var other = await TestAgent.EnrolledAsync(service, "other", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        var (session, challenge) = await agent.OpenSessionAsync();
        var proof = agent.Proof(challenge);
        var forged = proof.DeepClone();
        forged["data"]!["attributes"]!["agent_id"] = "other"; // signed for one, claimed for another
        Assert.NotEqual(HttpStatusCode.OK, (await service.Anonymous.SendAsync("PATCH", $"/v3.0/sessions/{session}", forged, Http.JsonApi)).Status);
        var answers = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => agent.ProveAsync(session, proof)));
        Assert.Equal(1, answers.Count(a => a.Status == HttpStatusCode.OK && a.Text.Contains("\"token\"", StringComparison.Ordinal)));

        // the id of the path is what counts, whatever the body says
        var claim = other.Registration();
        claim["agent_id"] = "node";
        Assert.Equal(HttpStatusCode.OK, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/other", claim)).Status);
        Assert.Equal(1, (await service.Operator.SendAsync("GET", "/v2.6/agents/node")).Json["results"]!["regcount"]!.GetValue<int>());
    }

    [Fact]
    public async Task CVE_2021_27098_CVE_2021_27099_no_agent_reads_or_does_what_is_anothers()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        using var other = await TestAgent.EnrolledAsync(service, "other", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        var asked = await agent.AskedAsync();
        foreach (var version in (string[])["/v3", "/v3.0"])
        {
            foreach (var (method, path) in ((string, string)[])[("POST", "attestations"), ("GET", "attestations"), ("GET", "attestations/latest"), ("PATCH", "attestations/0"), ("PATCH", "attestations/latest")])
                Assert.Equal(HttpStatusCode.Unauthorized, (await service.Anonymous.SendAsync(method, $"{version}/agents/node/{path}", new JsonObject(), Http.JsonApi, other.Token)).Status);
        }

        Assert.Equal("pass", (await agent.SubmitAsync(asked, agent.Collect(asked))).Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!["evaluation"]!.GetValue<string>());
    }

    private static byte[] ReadShared(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        using var all = new MemoryStream();
        file.CopyTo(all);
        return all.ToArray();
    }
}
