using System.IO.Compression;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Functions.Keys;
using Keylime.Functions.Storage.Sqlite;
using Keylime.Functions.Verifier;
using Keylime.Testing;
using Keylime.Tpm;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Keylime.Functions.Tests;

/// <summary>Bugs that peers shipped, each by its advisory's number: what it let through must not get through here.</summary>
public sealed class AdvisoryTests
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
        var files = Directory.EnumerateFiles(service.Folder, "keylime.db*").Select(ReadShared);
        Assert.All(files, bytes => Assert.Equal(-1, bytes.AsSpan().IndexOf(Encoding.ASCII.GetBytes(agent.Token!.Split('.')[1]))));
    }

    [Fact]
    public async Task CVE_2026_6420_GHSA_q8w6_w55c_ccv5_nonces_are_fresh_random_and_spent_once()
    {
        // 10,000 nonces: none twice, and no byte of them leans to any value (chi-squared with 255 degrees of freedom: 400 is p < 1e-7)
        var source = new ChallengeSource(LocalKeyRing.LoadOrCreate(Directory.CreateTempSubdirectory("keys-").FullName));
        var nonces = Enumerable.Range(0, 10_000).Select(_ => source.NewNonce()).ToArray();
        Assert.Equal(nonces.Length, nonces.Select(Convert.ToHexString).Distinct().Count());
        var counts = new int[256];
        foreach (var b in nonces.SelectMany(static n => n))
            counts[b]++;
        var expected = nonces.Length * ChallengeSource.Size / 256.0;
        Assert.InRange(counts.Sum(c => (c - expected) * (c - expected) / expected), 150, 400);

        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AskedAsync();
        var evidence = agent.Collect(asked);
        var answers = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => agent.SubmitAsync(asked, evidence)));
        Assert.Equal(1, answers.Count(a => a.Status == HttpStatusCode.Accepted));
        service.Clock.Advance(TimeSpan.FromSeconds(60));
        var next = await agent.AskedAsync();
        Assert.NotEqual(asked.Nonce, next.Nonce);
        var replay = (await agent.SubmitAsync(next, evidence)).Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!;
        Assert.Equal("fail", replay["evaluation"]!.GetValue<string>());
    }

    [Fact]
    public async Task CVE_2023_3674_a_signature_that_is_wrong_is_a_failed_node()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();
        foreach (var alter in (Func<Collected, Collected>[])
        [
            e => e with { Signature = Flip(e.Signature, e.Signature.Length / 2) },
            e => e with { Message = Flip(e.Message, e.Message.Length - 1) },
            e => e with { Signature = Flip(e.Signature, 1) },
        ])
        {
            service.Clock.Advance(TimeSpan.FromSeconds(60));
            await agent.AuthenticateAsync(); // a fail prolongs no token
            Assert.Equal("fail", (await agent.AttestAsync(alter))["evaluation"]!.GetValue<string>());
            Assert.Equal("failed", (await agent.NodeAsync())["node"]!["state"]!.GetValue<string>());
        }
    }

    [Fact]
    public async Task CVE_2022_3500_GHSA_hff2_x2j9_gxgv_an_exception_fails_the_node_and_stops_no_timer()
    {
        var broken = false;
        await using var service = await TestService.StartAsync(services => services.Replace(ServiceDescriptor.Singleton<Appraiser>(
            (request, evidence) => broken ? throw new InvalidOperationException("poison") : Attestation.Appraisal.Appraise(request, evidence))));
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        broken = true;
        service.Clock.Advance(TimeSpan.FromSeconds(60));
        Assert.Equal("fail", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        Assert.Equal("failed", (await agent.NodeAsync())["node"]!["state"]!.GetValue<string>());
        broken = false;
        service.Clock.Advance(TimeSpan.FromSeconds(60));
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>()); // and it goes on being judged

        // a row that poisons every listing: the sweep tells of the others all the same
        using (var database = SqliteDatabase.Open(Path.Combine(service.Folder, "keylime.db")))
            await database.WriteAsync(c => c.Execute("INSERT INTO nodes SELECT partition, 'poison', etag, verdict, late_at, silent_at, retired, open, policy, x'7b' FROM nodes WHERE id = 'node'"), Cancel);
        service.Clock.Advance(TimeSpan.FromMinutes(30));
        await service.Get<Sweep>().RunAsync(Cancel);
        var types = await service.EventTypesAsync();
        Assert.Contains("node.late", types);
        Assert.Contains("node.silent", types);
        Assert.Contains("storage.row_unreadable", await service.EventTypesAsync("/v1/events"));
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
        Assert.All(service.Log.All, line => Assert.DoesNotContain(agent.Id, line, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("gzip")]
    [InlineData("br")]
    [InlineData("zstd")]
    [InlineData("deflate")]
    public async Task CVE_2022_23951_GHSA_6xx7_m45w_76m2_nothing_is_decompressed(string encoding)
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AskedAsync();
        using var bomb = new MemoryStream();
        await using (var zip = new GZipStream(bomb, CompressionLevel.SmallestSize, leaveOpen: true))
        {
            for (var i = 0; i < 64; i++)
                await zip.WriteAsync(new byte[1024 * 1024], Cancel);
        }

        var before = GC.GetTotalAllocatedBytes();
        using var content = new ByteArrayContent(bomb.ToArray());
        content.Headers.ContentType = new MediaTypeHeaderValue(Http.JsonApi);
        content.Headers.ContentEncoding.Add(encoding);
        using var request = new HttpRequestMessage(HttpMethod.Patch, asked.Location) { Content = content };
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", agent.Token);
        using var response = await service.Anonymous.SendAsync(request, Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.InRange(GC.GetTotalAllocatedBytes() - before, 0, 32 * 1024 * 1024);
        Assert.Equal("pass", (await agent.SubmitAsync(asked, agent.Collect(asked))).Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!["evaluation"]!.GetValue<string>()); // the nonce is not spent
    }

    [Fact]
    public async Task CVE_2022_23952_GHSA_fchm_5w2v_qfm8_what_is_secret_is_for_its_owner_only()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        foreach (var file in Directory.EnumerateFiles(service.Folder, "*", SearchOption.AllDirectories).Where(f => f.EndsWith(".token", StringComparison.Ordinal) || f.EndsWith(".key", StringComparison.Ordinal)))
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(service.Folder));
    }

    [Fact]
    public async Task CVE_2023_38200_GHSA_pg75_v6fp_8q59_idle_connections_block_nobody()
    {
        await using var service = await TestService.StartAsync();
        var idle = new List<TcpClient>();
        for (var i = 0; i < 200; i++)
        {
            var client = new TcpClient();
            await client.ConnectAsync(IPAddress.Loopback, service.Url.Port, Cancel);
            if (i % 2 == 0)
                await client.GetStream().WriteAsync(new byte[] { 0x16, 0x03, 0x01 }, Cancel); // the start of a TLS hello, and no more
            idle.Add(client);
        }

        var start = TimeProvider.System.GetTimestamp();
        (await service.Anonymous.SendAsync("GET", "/health")).Expect(HttpStatusCode.OK);
        Assert.InRange(TimeProvider.System.GetElapsedTime(start), TimeSpan.Zero, TimeSpan.FromSeconds(5));
        idle.ForEach(client => client.Dispose());
    }

    [Fact]
    public async Task CVE_2025_1057_GHSA_9jxq_5x44_gx23_an_old_or_bad_row_is_no_denial_of_service()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var rows = JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(AppContext.BaseDirectory, "rows", "schema-1.json"), Cancel))!;
        using (var database = SqliteDatabase.Open(Path.Combine(service.Folder, "keylime.db")))
        {
            await database.WriteAsync(c => c.Execute("INSERT INTO nodes VALUES ('00', 'rows-node', 'e', 0, 0, 0, 0, 0, NULL, $body)", ("$body", Encoding.UTF8.GetBytes(rows["node"]!.ToJsonString()))), Cancel);
            await database.WriteAsync(c => c.Execute("INSERT INTO nodes VALUES ($partition, 'bad', 'e', 0, 0, 0, 0, 0, NULL, x'00ff')", ("$partition", Storage.Partitions.Of("bad"))), Cancel);
            await database.WriteAsync(c => c.Execute("INSERT INTO registrations VALUES ('bad', 'e', x'00ff')"), Cancel);
        }

        var listed = (await service.Operator.SendAsync("GET", "/v1/nodes")).Expect(HttpStatusCode.OK)["nodes"]!.AsArray().Select(n => n!["id"]!.GetValue<string>());
        Assert.Equal(["node", "rows-node"], listed.Order());
        (await service.Operator.SendAsync("GET", "/v2.6/agents")).Expect(HttpStatusCode.OK);
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await service.Operator.SendAsync("GET", "/v1/nodes/bad")).Status);
    }

    [Fact]
    public async Task Keylime_a46902fc_d0634a51_a_node_that_is_taken_out_while_it_is_judged_stays_out()
    {
        TestService? service = null;
        var judging = new SemaphoreSlim(0);
        var go = new SemaphoreSlim(0);
        await using (service = await TestService.StartAsync(services => services.Replace(ServiceDescriptor.Singleton<Appraiser>((request, evidence) =>
        {
            judging.Release();
            go.Wait(Cancel);
            return Attestation.Appraisal.Appraise(request, evidence);
        }))))
        {
            using var agent = await TestAgent.EnrolledAsync(service, "node");
            var asked = await agent.AskedAsync();
            var submit = Task.Run(() => agent.SubmitAsync(asked, agent.Collect(asked)), Cancel);
            await judging.WaitAsync(Cancel);
            (await service.Operator.SendAsync("POST", "/v1/nodes/node/retire")).Expect(HttpStatusCode.OK);
            go.Release();
            await submit;
            Assert.Equal("retired", (await agent.NodeAsync())["node"]!["state"]!.GetValue<string>());
            Assert.Equal(HttpStatusCode.Unauthorized, (await agent.AskAsync()).Status); // its token died at once
        }
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
    public async Task CVE_2022_0317_GHSA_99cg_575x_774p_a_quote_over_other_PCRs_proves_nothing()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        foreach (var alter in (Func<Asked, System.Collections.Immutable.ImmutableArray<PcrSelection>>[])
        [
            _ => [],
            a => [a.Selection with { Pcrs = PcrSet.Of(0) }],
            a => [a.Selection with { Bank = TpmAlgorithm.Sha1 }],
            a => [a.Selection, a.Selection],
        ])
        {
            await agent.AuthenticateAsync();
            var asked = await agent.AskedAsync();
            var good = agent.Collect(asked);
            var selections = alter(asked);
            var message = agent.Tpm.QuoteMessage(asked.Nonce, selections, agent.Tpm.Digest(selections));
            var reply = await agent.SubmitAsync(asked, good with { Message = message, Signature = agent.Tpm.Sign(message) });
            Assert.Equal("fail", reply.Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!["evaluation"]!.GetValue<string>());
            service.Clock.Advance(TimeSpan.FromSeconds(60));
        }
    }

    [Fact]
    public async Task GHSA_r2h5_3hgw_8j34_evidence_of_one_node_is_none_of_another()
    {
        await using var service = await TestService.StartAsync();
        using var good = await TestAgent.EnrolledAsync(service, "good", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        using var bad = await TestAgent.EnrolledAsync(service, "bad", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        await bad.MeasureAsync("/evil");

        // the bad node lets the good one answer its challenge
        var asked = await bad.AskedAsync();
        var (message, signature, pcrs) = good.Tpm.Quote(asked.Nonce, asked.Selection);
        var reply = await bad.SubmitAsync(asked, new Collected(message, signature, pcrs, good.ImaList));
        Assert.Equal("fail", reply.Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!["evaluation"]!.GetValue<string>());

        // a session's challenge is bound to its agent
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        var (session, challenge) = await good.OpenSessionAsync();
        Assert.NotEqual(HttpStatusCode.OK, (await bad.ProveAsync(session, bad.Proof(challenge))).Status);
    }

    [Fact]
    public void GHSA_w7wm_2425_7p2h_GHSA_vqv5_385r_2hf8_GHSA_3ccm_4qq2_5wrp_ciphertexts_of_any_length_are_refused()
    {
        var folder = Directory.CreateTempSubdirectory("keys-").FullName;
        var ring = LocalKeyRing.LoadOrCreate(folder);
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
            Assert.True(reply.Status is HttpStatusCode.Forbidden or HttpStatusCode.BadRequest, $"{reply.Status}");
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

    [Fact]
    public async Task CVE_2023_30551_CVE_2023_33199_CVE_2026_24117_what_is_fetched_is_bounded_and_public()
    {
        await using var large = await HookServer.StartAsync(200, new string('a', 1024 * 1024), 0);
        using var allowed = new Hosting.Outbound(new Hosting.ServiceOptions { AllowedOutbound = [large.Authority] });
        using var request = new HttpRequestMessage(HttpMethod.Get, large.Url);
        var tooLong = await Assert.ThrowsAsync<Hosting.OutboundException>(() => allowed.SendAsync(request, plain: true, 64 * 1024, TimeSpan.FromSeconds(5), Cancel));
        Assert.Contains("longer than", tooLong.Message, StringComparison.Ordinal);

        using var guarded = new Hosting.Outbound(new Hosting.ServiceOptions());
        foreach (var url in (string[])[large.Url, "http://localhost:1/", "http://[::1]:1/", "http://0.0.0.0:1/", "http://2130706433:1/", "http://169.254.169.254/metadata", "ftp://example.org/", "file:///etc/passwd"])
        {
            using var inside = new HttpRequestMessage(HttpMethod.Get, url);
            await Assert.ThrowsAsync<Hosting.OutboundException>(() => guarded.SendAsync(inside, plain: true, 1024, TimeSpan.FromSeconds(5), Cancel));
        }
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
            Assert.Equal(HttpStatusCode.BadRequest, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration())).Status);
        }
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

    [Fact]
    public async Task Two_hundred_nodes_behind_one_address_all_get_through()
    {
        await using var service = await TestService.StartAsync();
        var nodes = Enumerable.Range(0, 200).Select(i => new TestAgent(service, $"node-{i}", new SoftwareTpm(TpmAlgorithm.Ecdsa))).ToArray();
        for (var round = 0; round < 3; round++) // a site that reboots again and again, within the minute
        {
            service.Clock.Advance(TimeSpan.FromSeconds(1));
            await Parallel.ForEachAsync(nodes, new ParallelOptions { MaxDegreeOfParallelism = 8, CancellationToken = Cancel }, async (node, _) =>
            {
                await node.RegisterAsync();
                if ((await service.Operator.SendAsync("PUT", $"/v1/nodes/{node.Id}", "{}")) is { Status: not (HttpStatusCode.OK or HttpStatusCode.Created) } refused)
                    Assert.Fail(refused.Text);
                await node.AuthenticateAsync();
            });
        }

        foreach (var node in nodes)
            node.Dispose();
    }

    private static byte[] Flip(byte[] bytes, int at)
    {
        var flipped = (byte[])bytes.Clone();
        flipped[at] ^= 1;
        return flipped;
    }

    private static byte[] ReadShared(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        using var all = new MemoryStream();
        file.CopyTo(all);
        return all.ToArray();
    }
}
