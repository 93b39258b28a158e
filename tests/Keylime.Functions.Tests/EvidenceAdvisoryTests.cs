using System.IO.Compression;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Keylime.Functions.Keys;
using Keylime.Functions.Storage.Sqlite;
using Keylime.Functions.Verifier;
using Keylime.Testing;
using Keylime.Tpm;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Keylime.Functions.Tests;

/// <summary>Nonces, quotes, lists and verdicts: bugs that peers shipped there, each by its advisory's number.</summary>
public sealed class EvidenceAdvisoryTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task CVE_2026_6420_GHSA_q8w6_w55c_ccv5_nonces_are_fresh_random_and_spent_once()
    {
        // 10,000 nonces: none twice, and no byte of them leans to any value (chi-squared with 255 degrees of freedom: 400 is p < 1e-7)
        var source = new ChallengeSource(KeyRing.LoadOrCreate(Directory.CreateTempSubdirectory("keys-").FullName));
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
            await database.WriteAsync(c => c.Execute("INSERT INTO nodes (partition, id, etag, verdict, late_at, silent_at, retired, open, policy, body) SELECT partition, 'poison', etag, verdict, late_at, silent_at, retired, open, policy, x'7b' FROM nodes WHERE id = 'node'"), Cancel);
        service.Clock.Advance(TimeSpan.FromMinutes(30));
        await service.Get<Sweep>().RunAsync(Cancel);
        var types = await service.EventTypesAsync();
        Assert.Contains("node.late", types);
        Assert.Contains("node.silent", types);
        Assert.Contains("storage.row_unreadable", await service.EventTypesAsync("/v1/events"));
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

        // The very evidence that would pass, compressed: were it decompressed, it would be taken.
        var body = Encoding.UTF8.GetBytes(agent.Collect(asked).ToJson().ToJsonString());
        using var compressed = new MemoryStream();
        await using (Stream zip = encoding switch
        {
            "br" => new BrotliStream(compressed, CompressionLevel.SmallestSize, leaveOpen: true),
            "deflate" => new ZLibStream(compressed, CompressionLevel.SmallestSize, leaveOpen: true),
            _ => new GZipStream(compressed, CompressionLevel.SmallestSize, leaveOpen: true), // of zstd the runtime has no encoder; what is not decompressed needs none
        })
            await zip.WriteAsync(body, Cancel);

        using var content = new ByteArrayContent(compressed.ToArray());
        content.Headers.ContentType = new MediaTypeHeaderValue(Http.JsonApi);
        content.Headers.ContentEncoding.Add(encoding);
        using var request = new HttpRequestMessage(HttpMethod.Patch, asked.Location) { Content = content };
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", agent.Token);
        using var response = await service.Anonymous.SendAsync(request, Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal("pass", (await agent.SubmitAsync(asked, agent.Collect(asked))).Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!["evaluation"]!.GetValue<string>()); // the nonce is not spent
    }

    [Theory]
    [InlineData("POST", "/v1/nodes/node/retire")]
    [InlineData("DELETE", "/v2.6/agents/node")]
    public async Task Keylime_a46902fc_d0634a51_a_node_that_is_taken_out_while_it_is_judged_stays_out(string method, string path)
    {
        using var judging = new SemaphoreSlim(0);
        using var go = new SemaphoreSlim(0);
        await using var service = await TestService.StartAsync(services => services.Replace(ServiceDescriptor.Singleton<Appraiser>((request, evidence) =>
        {
            judging.Release();
            go.Wait(Cancel);
            return Attestation.Appraisal.Appraise(request, evidence);
        })));
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AskedAsync();
        var submit = Task.Run(() => agent.SubmitAsync(asked, agent.Collect(asked)), Cancel);
        await judging.WaitAsync(Cancel);
        (await service.Operator.SendAsync(method, path)).Expect(HttpStatusCode.OK);
        go.Release();
        await submit;
        if (method == "DELETE")
        {
            // The registration is gone and stays gone; the node is the operator's own, with the key that was pinned, until it is retired.
            Assert.Equal(HttpStatusCode.NotFound, (await service.Operator.SendAsync("GET", path)).Status);
            using var thief = new TestAgent(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
            service.Clock.Advance(TimeSpan.FromSeconds(1));
            var (session, challenge) = await thief.OpenSessionAsync();
            Assert.Equal(HttpStatusCode.Unauthorized, (await thief.ProveAsync(session, thief.Proof(challenge))).Status);
        }
        else
        {
            Assert.Equal("retired", (await agent.NodeAsync())["node"]!["state"]!.GetValue<string>());
            Assert.Equal(HttpStatusCode.Unauthorized, (await agent.AskAsync()).Status); // its token died at once
        }
    }

    [Fact]
    public async Task CVE_2022_0317_GHSA_99cg_575x_774p_a_quote_over_other_PCRs_proves_nothing()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        foreach (var (code, alter) in ((string, Func<Asked, Collected, Collected>)[])
        [
            ("quote.selection_mismatch", (a, e) => Quote(a, e, [])),
            ("quote.selection_mismatch", (a, e) => Quote(a, e, [a.Selection with { Pcrs = PcrSet.Of() }])),
            ("quote.selection_mismatch", (a, e) => Quote(a, e, [a.Selection with { Pcrs = PcrSet.Of(0) }])),
            ("quote.selection_mismatch", (a, e) => Quote(a, e, [a.Selection with { Bank = TpmAlgorithm.Sha1 }])),
            ("quote.selection_mismatch", (a, e) => Quote(a, e, [a.Selection, a.Selection])),
            ("quote.selection_mismatch", (a, e) => Quote(a, e, [a.Selection, new(TpmAlgorithm.Sha1, PcrSet.Of(0))])),

            // values that the quote does not cover, or not all that it does
            ("quote.selection_mismatch", (a, e) => e with { Pcrs = agent.Tpm.Values(a.Selection with { Pcrs = a.Selection.Pcrs.Union(PcrSet.Of(12)) }).Encode() }),
            ("quote.selection_mismatch", (a, e) => e with { Pcrs = agent.Tpm.Values(a.Selection with { Pcrs = PcrSet.Of(12) }).Encode() }),
            ("quote.pcr_values_malformed", (_, e) => e with { Pcrs = [] }),
        ])
        {
            await agent.AuthenticateAsync();
            var asked = await agent.AskedAsync();
            var reply = await agent.SubmitAsync(asked, alter(asked, agent.Collect(asked)));
            Assert.Equal("fail", reply.Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!["evaluation"]!.GetValue<string>());
            Assert.Equal(code, (await agent.NodeAsync())["lastVerdict"]!["findings"]![0]!["code"]!.GetValue<string>());
            service.Clock.Advance(TimeSpan.FromSeconds(60));
        }

        Collected Quote(Asked asked, Collected good, System.Collections.Immutable.ImmutableArray<PcrSelection> selections)
        {
            var message = agent.Tpm.QuoteMessage(asked.Nonce, selections, agent.Tpm.Digest(selections));
            return good with { Message = message, Signature = agent.Tpm.Sign(message) };
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

    private static byte[] Flip(byte[] bytes, int at)
    {
        var flipped = (byte[])bytes.Clone();
        flipped[at] ^= 1;
        return flipped;
    }
}
