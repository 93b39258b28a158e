using System.Net;
using System.Text.Json.Nodes;
using Keylime.Functions.Keys;
using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Tests;

/// <summary>Proof of possession, and the tokens that it earns.</summary>
public sealed class SessionTests
{
    [Fact]
    public async Task A_proof_works_once_and_an_older_challenge_not_after_a_newer()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        var (older, olderChallenge) = await agent.OpenSessionAsync();
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        var (newer, newerChallenge) = await agent.OpenSessionAsync();
        var proof = agent.Proof(newerChallenge);

        (await agent.ProveAsync(newer, proof)).Expect(HttpStatusCode.OK);
        Assert.Equal(HttpStatusCode.NotFound, (await agent.ProveAsync(newer, proof)).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await agent.ProveAsync(older, agent.Proof(olderChallenge))).Status);
    }

    [Fact]
    public async Task Nobody_touches_the_session_of_another()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        using var thief = new TestAgent(service, "node");
        service.Clock.Advance(TimeSpan.FromSeconds(1));

        var (session, challenge) = await thief.OpenSessionAsync();
        var refused = await thief.ProveAsync(session, thief.Proof(challenge));

        Assert.Equal(HttpStatusCode.Unauthorized, refused.Status);
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>()); // the old token lives
    }

    [Fact]
    public async Task An_agent_that_is_not_enrolled_is_told_no_more_than_that_it_failed()
    {
        await using var service = await TestService.StartAsync();
        using var stranger = new TestAgent(service, "stranger");
        var (session, challenge) = await stranger.OpenSessionAsync();
        var proven = await stranger.ProveAsync(session, stranger.Proof(challenge));
        Upstream.CheckSessionProven(proven);
        Assert.Equal("fail", proven.Json["data"]!["attributes"]!["evaluation"]!.GetValue<string>());
        Assert.Null(proven.Json["data"]!["attributes"]!["token"]);
    }

    [Fact]
    public async Task A_proof_of_another_object_or_for_another_challenge_is_refused()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        var (session, challenge) = await agent.OpenSessionAsync();

        var (message, signature) = agent.Tpm.Certify(challenge, agent.Tpm.EndorsementKey.ComputeName());
        Assert.Equal(HttpStatusCode.Unauthorized, (await agent.ProveAsync(session, With(agent.Proof(challenge), message, signature))).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await agent.ProveAsync(session, agent.Proof(new byte[32]))).Status);
        var (quote, quoteSignature, _) = agent.Tpm.Quote(challenge, new Keylime.Tpm.PcrSelection(Keylime.Tpm.TpmAlgorithm.Sha256, Keylime.Tpm.PcrSet.Of(10)));
        Assert.Equal(HttpStatusCode.Unauthorized, (await agent.ProveAsync(session, With(agent.Proof(challenge), quote, quoteSignature))).Status);
        (await agent.ProveAsync(session, agent.Proof(challenge))).Expect(HttpStatusCode.OK);
    }

    [Fact]
    public async Task A_session_expires_and_one_of_another_service_is_none()
    {
        await using var service = await TestService.StartAsync();
        await using var elsewhere = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        var (session, challenge) = await agent.OpenSessionAsync();
        service.Clock.Advance(TimeSpan.FromSeconds(61));
        var late = (await agent.ProveAsync(session, agent.Proof(challenge))).Expect(HttpStatusCode.OK);
        Assert.Equal("fail", late["data"]!["attributes"]!["evaluation"]!.GetValue<string>());

        using var other = new TestAgent(elsewhere, "node", agent.Tpm);
        var (foreign, foreignChallenge) = await other.OpenSessionAsync();
        Assert.Equal(HttpStatusCode.NotFound, (await agent.ProveAsync(foreign, agent.Proof(foreignChallenge))).Status);
    }

    [Fact]
    public async Task A_session_of_one_agent_is_not_answered_by_another()
    {
        await using var service = await TestService.StartAsync();
        using var one = await TestAgent.EnrolledAsync(service, "one");
        using var two = await TestAgent.EnrolledAsync(service, "two");
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        var (session, challenge) = await one.OpenSessionAsync();
        Assert.Equal(HttpStatusCode.BadRequest, (await two.ProveAsync(session, two.Proof(challenge))).Status);
    }

    [Fact]
    public async Task A_token_expires_and_a_pass_prolongs_it()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        for (var i = 0; i < 5; i++)
        {
            await agent.AttestAsync();
            service.Clock.Advance(TimeSpan.FromSeconds(60));
        }

        service.Clock.Advance(TimeSpan.FromSeconds(121));
        var expired = await agent.AskAsync();
        Assert.Equal(HttpStatusCode.Unauthorized, expired.Status);
        Assert.Equal("Authentication token expired", expired.Json["errors"]![0]!["detail"]!.GetValue<string>());
    }

    [Fact]
    public async Task The_store_holds_no_token()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var node = (await service.Get<INodeStore>().FindAsync(AgentId.Parse("node"), TestContext.Current.CancellationToken))!.Value;
        Assert.Equal(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(agent.Token!)), node.Session!.TokenHash.ToArray());
        var secret = agent.Token!.Split('.')[1];
        Assert.All(Directory.GetFiles(service.Folder, "keylime.db*"), file =>
            Assert.Equal(-1, ReadShared(file).AsSpan().IndexOf(System.Text.Encoding.ASCII.GetBytes(secret))));
        Assert.All(service.Log.All, line => Assert.DoesNotContain(secret, line, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Strangers_are_slowed_down_and_other_agents_behind_the_same_address_are_not()
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "busy");
        Reply? last = null;
        for (var i = 0; i <= Hosting.RateLimits.PerAgent; i++)
            last = await service.Anonymous.SendAsync("POST", "/v3.0/sessions", agent.SessionRequest(), Http.JsonApi);
        Assert.Equal(HttpStatusCode.TooManyRequests, last!.Status);
        Assert.True(last.RetryAfter >= TimeSpan.FromSeconds(1));

        for (var i = 0; i < 200; i++)
        {
            using var neighbour = new TestAgent(service, $"neighbour-{i}", agent.Tpm);
            (await service.Anonymous.SendAsync("POST", "/v3.0/sessions", neighbour.SessionRequest(), Http.JsonApi)).Expect(HttpStatusCode.OK);
        }

        service.Clock.Advance(TimeSpan.FromSeconds(61));
        (await service.Anonymous.SendAsync("POST", "/v3.0/sessions", agent.SessionRequest(), Http.JsonApi)).Expect(HttpStatusCode.OK);
    }

    [Fact]
    public async Task One_agents_proofs_are_no_licence_for_what_others_send_from_its_address()
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "node", new Testing.SoftwareTpm(Tpm.TpmAlgorithm.Ecdsa));
        var blob = (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration())).Expect(HttpStatusCode.OK)["results"]!["blob"]!.GetValue<string>();
        var right = new JsonObject { ["auth_tag"] = agent.Tag(blob) };
        Assert.Equal(Hosting.RateLimits.RegistrationsPerAgent - 1, await CountAsync(Hosting.RateLimits.RegistrationsPerAgent, _ => service.Anonymous.SendAsync("PUT", "/v2.6/agents/node", right), HttpStatusCode.OK));

        // strangers, each under another name
        var strangers = await CountAsync(Hosting.RateLimits.PerAddress + 100, i => service.Anonymous.SendAsync("PUT", $"/v2.6/agents/n{i}", right), HttpStatusCode.NotFound);
        Assert.InRange(strangers, Hosting.RateLimits.PerAddress - 1, Hosting.RateLimits.PerAddress + Hosting.RateLimits.RegistrationsPerAgent);
        Assert.Equal(HttpStatusCode.TooManyRequests, (await service.Anonymous.SendAsync("POST", "/v3.0/sessions", agent.SessionRequest(), Http.JsonApi)).Status);
    }

    [Theory]
    [InlineData("POST", "/v3.0/sessions")]
    [InlineData("POST", "/v2.6/agents/busy")]
    [InlineData("POST", "/v2.6/agents")]
    [InlineData("PUT", "/v2.6/agents/busy")]
    public async Task One_agent_that_asks_without_end_does_not_lock_out_those_behind_its_address(string method, string path)
    {
        await using var service = await TestService.StartAsync();
        using var busy = new TestAgent(service, "busy", new Testing.SoftwareTpm(Tpm.TpmAlgorithm.Ecdsa));
        var body = path.EndsWith("sessions", StringComparison.Ordinal) ? busy.SessionRequest() : busy.Registration();
        body["agent_id"] ??= path == "/v2.6/agents" ? "busy" : null;
        body["auth_tag"] = method == "PUT" ? new string('0', 96) : null;
        var last = HttpStatusCode.OK;
        for (var i = 0; i < Hosting.RateLimits.PerAddress + 10; i++)
            last = (await service.Anonymous.SendAsync(method, path, body.DeepClone(), Http.JsonApi)).Status;
        Assert.Equal(HttpStatusCode.TooManyRequests, last);
        using var neighbour = new TestAgent(service, "neighbour", new Testing.SoftwareTpm(Tpm.TpmAlgorithm.Ecdsa));
        await neighbour.RegisterAsync();
        (await service.Anonymous.SendAsync("POST", "/v3.0/sessions", neighbour.SessionRequest(), Http.JsonApi)).Expect(HttpStatusCode.OK);
    }

    // How many of so many requests are answered so, before the first that is not.
    private static async Task<int> CountAsync(int most, Func<int, Task<Reply>> send, HttpStatusCode status)
    {
        var count = 0;
        while (count < most && (await send(count)).Status == status)
            count++;
        return count;
    }

    [Fact]
    public void A_thousand_names_that_ask_without_end_are_in_no_other_name_s_way()
    {
        const int most = 15;
        var limit = new Hosting.RateLimit(most, new Microsoft.Extensions.Time.Testing.FakeTimeProvider());
        for (var i = 0; i < 1000; i++)
        {
            for (var request = 0; request < most; request++)
                Assert.Equal(0, limit.Wait($"busy {i}"));
        }

        Assert.All(Enumerable.Range(0, 1000), i => Assert.InRange(limit.Wait($"busy {i}"), 1, 60));
        Assert.Equal(0, Enumerable.Range(0, 10_000).Count(i => limit.Wait($"quiet {i}") > 0));
    }

    [Fact]
    public async Task Challenges_are_fresh()
    {
        await using var service = await TestService.StartAsync();
        var source = service.Get<IChallengeSource>();
        var nonces = Enumerable.Range(0, 10_000).Select(_ => source.NewNonce()).ToArray();
        Assert.Equal(10_000, nonces.Select(Convert.ToHexString).Distinct().Count());
        Assert.All(nonces, n => Assert.Equal(32, n.Length));

        // Each bit is set about half of the time: 5,000 of 10,000, and by 6 standard deviations of 50 no more or less.
        for (var bit = 0; bit < 256; bit++)
            Assert.InRange(nonces.Count(n => (n[bit / 8] >> (bit % 8) & 1) == 1), 4_700, 5_300);
    }

    private static JsonObject With(JsonObject proof, byte[] message, byte[] signature)
    {
        var data = proof["data"]!["attributes"]!["authentication_provided"]![0]!["data"]!;
        data["message"] = Convert.ToBase64String(message);
        data["signature"] = Convert.ToBase64String(signature);
        return proof;
    }

    private static byte[] ReadShared(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using var all = new MemoryStream();
        file.CopyTo(all);
        return all.ToArray();
    }
}
