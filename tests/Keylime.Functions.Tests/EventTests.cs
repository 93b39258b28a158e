using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Sqlite;
using Keylime.Functions.Verifier;
using Keylime.Testing;
using Keylime.Tpm;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Functions.Tests;

/// <summary>Every kind of event there is: it is raised by what it is named after, stored, listed, filtered and paged, and tells no secret.</summary>
public sealed class EventTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Every_kind_of_event_is_raised_listed_filtered_and_paged_and_has_no_evidence_and_no_secret_in_it()
    {
        await using var gone = await HookServer.StartAsync(410, "", 0);
        await using var service = await TestService.StartAsync(configure: static o => o with { KeepEvents = TimeSpan.FromDays(1) });
        var secrets = new List<string>();

        // In an instance of its own, which is over before anything else: three days go by, and what its timers make of that comes when it likes.
        await using (var days = await TestService.StartAsync(clock: new FakeTimeProvider(service.Clock.GetUtcNow().AddDays(-3)), configure: o => o with { AllowedOutbound = [gone.Authority] }))
        {
            await WebhooksAsync(days, secrets, gone);
            foreach (var happened in (await days.Get<IEventStore>().ListAsync(new EventQuery(Types: [.. EventTypes.All.Where(static t => t.StartsWith("webhook.", StringComparison.Ordinal))], Since: service.Clock.GetUtcNow().AddMinutes(-1)), null, 100, Cancel)).Items)
                await service.Get<IEventStore>().AddAsync(happened, Cancel); // to be listed with the others
        }

        await service.Get<IEventStore>().AddAsync(EventRecord.Of(EventRecord.Service, service.Clock.GetUtcNow().AddDays(-2), EventTypes.TokenCreated, "long ago"), Cancel);
        await service.Get<Retention>().RunAsync(Cancel);
        Assert.True(await service.SweepAsync());
        await OperatorsAsync(service, secrets);
        await RegistrationsAsync(service, secrets);
        await AttestationsAsync(service, secrets);
        using (var database = SqliteDatabase.Open(Path.Combine(service.Folder, "keylime.db")))
            await database.WriteAsync(c => c.Execute("INSERT INTO registrations VALUES ('bad', 'e', x'00ff')"), Cancel);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await service.Operator.SendAsync("GET", "/v2.6/agents/bad")).Status);
        await service.Get<Sweep>().RunAsync(Cancel);
        await service.Get<DeliveryQueues>().Poison.PutAsync("no message of ours"u8.ToArray(), TimeSpan.Zero, Cancel);
        await service.Get<Notifications.PoisonedWork>().RunAsync(Cancel);

        var all = await ListAsync(service, "/v1/events?limit=1000");
        Assert.Equal(EventTypes.All.Order(), all.Select(e => e.Type).Distinct().Order());
        Assert.Equal(all, await PagesAsync(service, "/v1/events?limit=7"));
        Assert.Equal(all.OrderByDescending(e => e.At), all);
        foreach (var type in EventTypes.All)
            Assert.Equal(all.Where(e => e.Type == type), await PagesAsync(service, $"/v1/events?limit=2&type={type}"));
        foreach (var subject in all.Select(e => e.Subject).Distinct())
        {
            var own = all.Where(e => e.Subject == subject).ToArray();
            Assert.Equal(own, await PagesAsync(service, $"/v1/events?limit=3&subject={Uri.EscapeDataString(subject)}"));
            if (!subject.Contains(':', StringComparison.Ordinal))
                Assert.Equal(own, await PagesAsync(service, $"/v1/nodes/{subject}/events?limit=3"));
        }

        var middle = all[all.Length / 2].At;
        var time = Uri.EscapeDataString(middle.ToString("O"));
        Assert.Equal(all.Where(e => e.At >= middle), await ListAsync(service, $"/v1/events?limit=1000&since={time}"));
        Assert.Equal(all.Where(e => e.At < middle), await ListAsync(service, $"/v1/events?limit=1000&until={time}"));

        foreach (var secret in secrets)
        {
            Assert.True(secret.Length >= 12, secret); // shorter ones would be found by chance
            Assert.All(all, e => Assert.DoesNotContain(secret, e.Detail, StringComparison.OrdinalIgnoreCase));
            Assert.All(service.Log.All, line => Assert.DoesNotContain(secret, line, StringComparison.OrdinalIgnoreCase));
        }
    }

    [Fact]
    public async Task A_token_that_is_used_beyond_its_role_is_told_by_its_name()
    {
        await using var service = await TestService.StartAsync();
        using var auditor = service.CreateClient(service.TokenOf("auditor"));
        using var approver = service.CreateClient(service.TokenOf("approver"));
        for (var i = 0; i < 3; i++)
            Assert.Equal(HttpStatusCode.Forbidden, (await auditor.SendAsync("POST", "/v1/nodes/n/retire")).Status);
        var refused = await approver.SendAsync("DELETE", "/v1/policies/p");
        Assert.Equal(HttpStatusCode.Forbidden, refused.Status);
        Assert.Equal("Who may is: operator.", refused.Json["hint"]!.GetValue<string>());
        var told = await ListAsync(service, "/v1/events?type=token.refused");
        Assert.Equal(2, told.Length); // once a minute each
        Assert.Contains(told, e => e.Detail.Contains("'auditor'", StringComparison.Ordinal) && e.Detail.Contains("POST /v1/nodes/{id}/retire", StringComparison.Ordinal));
        Assert.Contains(told, e => e.Detail.Contains("'approver'", StringComparison.Ordinal));
    }

    private static async Task OperatorsAsync(TestService service, List<string> secrets)
    {
        secrets.Add(service.TokenOf("operator").Split('.')[1]);
        var created = (await service.Operator.SendAsync("POST", "/v1/tokens", new JsonObject { ["name"] = "ci", ["role"] = "auditor" })).Expect(HttpStatusCode.Created)["token"]!.GetValue<string>();
        secrets.Add(created.Split('.')[1]);
        await service.Operator.SendAsync("DELETE", "/v1/tokens/ci");
        using (var guesser = service.CreateClient("operator.wrong-and-long-enough-to-be-found"))
            Assert.Equal(HttpStatusCode.Unauthorized, (await guesser.SendAsync("GET", "/v1/nodes")).Status);
        secrets.Add("wrong-and-long-enough-to-be-found");

        (await service.Operator.SendAsync("POST", "/v1/trust", TestCertificates.Root.ExportCertificatePem(), "application/x-pem-file")).Expect(HttpStatusCode.OK);
        var rule = (await service.Operator.SendAsync("PUT", "/v1/enrolment-rules/hook", """{"kind":"webhook","url":"https://10.0.0.1/","timeoutSeconds":1}""")).Expect(HttpStatusCode.OK);
        secrets.Add(rule["rule"]!["secret"]!.GetValue<string>());
        await service.Operator.SendAsync("DELETE", "/v1/enrolment-rules/hook");

        using var key = System.Security.Cryptography.ECDsa.Create(System.Security.Cryptography.ECCurve.NamedCurves.nistP256);
        using var approver = service.CreateClient(service.TokenOf("approver"));
        (await approver.SendAsync("PUT", "/v1/policy-signers/alice", key.ExportSubjectPublicKeyInfoPem(), "application/x-pem-file")).Expect(HttpStatusCode.OK);
        await using var strict = await TestService.StartAsync(folder: service.Folder, clock: service.Clock, configure: o => o with { RequirePolicyApproval = true });
        (await strict.Operator.SendAsync("PUT", "/v1/policies/waits", BootTests.Policy())).Expect(HttpStatusCode.Created);
    }

    private static async Task RegistrationsAsync(TestService service, List<string> secrets)
    {
        using var agent = new TestAgent(service, "first");
        var blob = (await service.Anonymous.SendAsync("POST", "/v2.6/agents/first", agent.Registration())).Expect(HttpStatusCode.OK)["results"]!["blob"]!.GetValue<string>();
        secrets.AddRange([blob, agent.Tag(blob)]);
        await agent.RegisterAsync(); // waits
        await service.Anonymous.SendAsync("PUT", "/v2.6/agents/first", new JsonObject { ["auth_tag"] = new string('0', 96) });

        using var thief = new TestAgent(service, "first", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        Assert.Equal(HttpStatusCode.Forbidden, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/first", thief.Registration())).Status);
        using var clone = new TestAgent(service, "second", agent.Tpm);
        Assert.Equal(HttpStatusCode.Forbidden, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/second", clone.Registration())).Status);
        thief.EndorsementCertificate = TestCertificates.Issue(agent.Tpm.EndorsementKey).ExportCertificatePem();
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/third", thief.Registration())).Status);

        var lost = agent.WithNewKey();
        await lost.RegisterAsync();
        var name = new JsonObject { ["attestationKeyName"] = Convert.ToHexStringLower(lost.Tpm.AttestationKey.ComputeName()) };
        (await service.Operator.SendAsync("POST", "/v1/nodes/first/approve", name)).Expect(HttpStatusCode.Created);
        (await service.Operator.SendAsync("PATCH", "/v1/nodes/first", """{"intervalSeconds":30}""")).Expect(HttpStatusCode.OK);
        (await service.Operator.SendAsync("DELETE", "/v2.6/agents/first")).Expect(HttpStatusCode.OK);
    }

    private static async Task AttestationsAsync(TestService service, List<string> secrets)
    {
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        secrets.Add(agent.Token!.Split('.')[1]);
        using (var stranger = new TestAgent(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa)) { Token = "not-the-token-of-anybody" })
        {
            Assert.Equal(HttpStatusCode.Unauthorized, (await stranger.AskAsync()).Status);
            service.Clock.Advance(TimeSpan.FromSeconds(1));
            var (session, challenge) = await stranger.OpenSessionAsync();
            Assert.Equal(HttpStatusCode.Unauthorized, (await stranger.ProveAsync(session, stranger.Proof(challenge))).Status);
            secrets.AddRange([stranger.Token, session, Convert.ToBase64String(challenge)]);
        }

        await agent.MeasureAsync("/opt/unknown");
        await AttestAsync("fail");
        await agent.PutPolicyAsync();
        await AttestAsync("pass"); // recovered
        service.Clock.Advance(TimeSpan.FromMinutes(10)); // late, silent
        await agent.AuthenticateAsync();
        agent.Tpm.Reset();
        using (var rebooted = new TestAgent(service, "node", agent.Tpm) { Token = agent.Token, BootTime = agent.BootTime.AddHours(5) })
        {
            await rebooted.Ima.StartAsync(Cancel);
            await rebooted.AttestAsync(); // returned, rebooted
        }

        service.Clock.Advance(TimeSpan.FromMinutes(1));
        var asked = await agent.AskedAsync();
        await service.Anonymous.SendAsync("PATCH", asked.Location, """{"data":{"type":"error","attributes":{"evidence_collected":[]}}}""", Http.JsonApi, agent.Token);
        (await service.Operator.SendAsync("POST", "/v1/nodes/node/retire")).Expect(HttpStatusCode.OK);
        (await service.Operator.SendAsync("POST", "/v1/nodes/node/reactivate")).Expect(HttpStatusCode.OK);

        using var second = await TestAgent.EnrolledAsync(service, "other", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        await second.AttestAsync(); // trusted
        await PayloadsAsync(service, second, secrets);
        await service.Operator.SendAsync("PUT", "/v1/policies/spare", (await service.Operator.SendAsync("GET", "/v1/policies/node")).Text);
        Assert.Equal(HttpStatusCode.NoContent, (await service.Operator.SendAsync("DELETE", "/v1/policies/spare")).Status);

        async Task AttestAsync(string evaluation)
        {
            var open = await agent.AskedAsync();
            var evidence = agent.Collect(open);
            Assert.Equal(evaluation, (await agent.SubmitAsync(open, evidence)).Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!["evaluation"]!.GetValue<string>());
            foreach (var bytes in (byte[][])[open.Nonce, evidence.Message, evidence.Signature, evidence.Pcrs])
                secrets.AddRange([Convert.ToBase64String(bytes), Convert.ToHexString(bytes)]);
            secrets.AddRange(Encoding.UTF8.GetString(evidence.Lines!).Split('\n', StringSplitOptions.RemoveEmptyEntries));
            service.Clock.Advance(TimeSpan.FromMinutes(1));
        }
    }

    private static async Task PayloadsAsync(TestService service, TestAgent agent, List<string> secrets)
    {
        using var tool = new OperatorTool(service);
        secrets.Add(Encoding.UTF8.GetString(PayloadBench.Secret).Trim());
        await tool.PutAsync("p", null, "--node", agent.Id, "--require", "runtime", "--split", tool.PathOf("share"));
        secrets.Add(Convert.ToHexString(await File.ReadAllBytesAsync(tool.PathOf("share"), Cancel)));
        Assert.Equal("no_share", await agent.RefusalAsync("p"));
        await tool.PutAsync("p", null, "--node", agent.Id, "--require", "runtime");
        var challenge = new byte[32];
        var released = await agent.ReleasedAsync("p", challenge, 2);
        secrets.Add(Convert.ToHexString(agent.Unseal(released)[..32]));
        foreach (var outcome in (string[])["written", "wiped"])
        {
            var report = new JsonObject { ["version"] = 2, ["release"] = released.Release, ["outcome"] = outcome };
            Assert.Equal(HttpStatusCode.NoContent, (await service.Anonymous.SendAsync("POST", $"/v3.0/agents/{agent.Id}/payloads/p/report", report, token: agent.Token)).Status);
        }

        var second = await agent.ReleasedAsync("p", [.. challenge.Select(static b => (byte)(b + 1))], 2);
        var failed = new JsonObject { ["version"] = 2, ["release"] = second.Release, ["outcome"] = "failed", ["detail"] = "no room" };
        Assert.Equal(HttpStatusCode.NoContent, (await service.Anonymous.SendAsync("POST", $"/v3.0/agents/{agent.Id}/payloads/p/report", failed, token: agent.Token)).Status);
        await tool.DoAsync("payload", "revoke", "p");
        await tool.DoAsync("payload", "rotate", "--vault");
    }

    private static async Task WebhooksAsync(TestService service, List<string> secrets, HookServer gone)
    {
        var dead = (await service.Operator.SendAsync("PUT", "/v1/webhooks/dead", """{"url":"https://127.0.0.1:1/","events":["node.retired"]}""")).Expect(HttpStatusCode.OK);
        secrets.Add(dead["webhook"]!["secret"]!.GetValue<string>());
        await service.HappenAsync("long-gone", EventTypes.NodeRetired);
        await service.DeliverAsync();
        service.Clock.Advance(Notifications.Backoff.GiveUpAfter);
        await service.DeliverAsync();
        secrets.Add((await service.PutWebhookAsync("gone", gone, """{"events":["node.retired"]}"""))!);
        await service.HappenAsync("long-gone", EventTypes.NodeRetired);
        await service.DeliverAsync();
    }

    private static async Task<Told[]> ListAsync(TestService service, string path) => (await PageAsync(service, path)).Events;

    private static async Task<Told[]> PagesAsync(TestService service, string path)
    {
        var all = new List<Told>();
        for (var after = ""; after is not null;)
        {
            var (events, next) = await PageAsync(service, $"{path}&after={Uri.EscapeDataString(after)}");
            all.AddRange(events);
            after = next;
        }

        return [.. all];
    }

    private static async Task<(Told[] Events, string? Next)> PageAsync(TestService service, string path)
    {
        var page = (await service.Operator.SendAsync("GET", path)).Expect(HttpStatusCode.OK);
        return ([.. page["events"]!.AsArray().Select(e => new Told(
            DateTimeOffset.Parse(e!["at"]!.GetValue<string>(), System.Globalization.CultureInfo.InvariantCulture), e["type"]!.GetValue<string>(), e["subject"]!.GetValue<string>(), e["detail"]!.GetValue<string>()))],
            page["next"]?.GetValue<string>());
    }

    private sealed record Told(DateTimeOffset At, string Type, string Subject, string Detail);
}
