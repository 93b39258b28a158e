using System.Net;
using System.Text.Json.Nodes;
using Keylime.Functions.Storage;
using Keylime.Testing;

namespace Keylime.Functions.Tests;

/// <summary>What an operator changes beside nodes.</summary>
internal static class OfAdministration
{
    private static readonly string Thumbprint = TestCertificates.Root.GetCertHashString(System.Security.Cryptography.HashAlgorithmName.SHA256);

    private static readonly string Signer = System.Security.Cryptography.PemEncoding.WriteString("PUBLIC KEY", TestCertificates.Root.PublicKey.ExportSubjectPublicKeyInfo());

    private static readonly string LargePolicy = CompiledFormTests.Text([]);

    public static Dictionary<string, Change> Changes { get; } = new()
    {
        ["put a policy"] = new(
            _ => Task.CompletedTask,
            (s, a) => a.TryPutPolicyAsync(s),
            async s =>
            {
                (await s.Operator.SendAsync("GET", "/v1/policies/node")).Expect(HttpStatusCode.OK);
                Assert.Equal(1, (await s.EventTypesAsync("/v1/events")).Count(t => t == "policy.changed"));
            }),
        ["put a large policy"] = new(
            _ => Task.CompletedTask,
            async (s, _) => (await s.Operator.SendAsync("PUT", "/v1/policies/large", LargePolicy)).Status is HttpStatusCode.Created or HttpStatusCode.OK,
            async s =>
            {
                Assert.Equal(1, (await s.EventTypesAsync("/v1/events")).Count(t => t == "policy.changed"));
                Assert.True(await s.Get<Policies.CompiledForms>().HasAsync(CompiledFormTests.DigestOf(LargePolicy), TestContext.Current.CancellationToken));
                Assert.NotNull(await s.Get<Policies.CompiledForms>().FindAsync(CompiledFormTests.DigestOf(LargePolicy), TestContext.Current.CancellationToken));
            }),
        ["trust a certificate"] = new(
            _ => Task.CompletedTask,
            async (s, _) => (await s.Operator.SendAsync("POST", "/v1/trust", TestCertificates.Root.ExportCertificatePem(), "application/x-pem-file")).Status == HttpStatusCode.OK,
            async s => Assert.Equal(1, (await s.EventTypesAsync("/v1/events")).Count(t => t == "trust.changed"))),
        ["put another policy"] = new(
            async a =>
            {
                await a.PutPolicyAsync();
                await a.MeasureAsync("/usr/bin/other");
                a.Service.Clock.Advance(TimeSpan.FromSeconds(1));
            },
            (s, a) => a.TryPutPolicyAsync(s),
            async s => Assert.Equal(2, await s.CountEventsAsync("policy.changed"))),
        ["propose a policy"] = new(
            _ => Task.CompletedTask,
            (s, a) => a.TryPutPolicyAsync(s),
            async s => Assert.Equal(1, await s.CountEventsAsync("policy.proposed")))
        { Options = static o => o with { RequirePolicyApproval = true } },
        ["approve a policy"] = new(
            async a =>
            {
                await a.PutPolicyAsync();
                a.Service.Clock.Advance(TimeSpan.FromSeconds(1));
            },
            async (s, _) =>
            {
                var policy = (await s.Operator.SendAsync("GET", "/v1/policies")).Expect(HttpStatusCode.OK)["policies"]![0]!;
                using var approver = s.CreateClient(s.TokenOf("approver"));
                return (await approver.SendAsync("POST", "/v1/policies/node/approve", new JsonObject { ["digest"] = (policy["proposedDigest"] ?? policy["digest"])!.GetValue<string>() })).Status == HttpStatusCode.OK;
            },
            async s =>
            {
                Assert.Equal(1, await s.CountEventsAsync("policy.proposed"));
                Assert.Equal(1, await s.CountEventsAsync("policy.changed"));
            })
        { Options = static o => o with { RequirePolicyApproval = true } },
        ["trust a signer"] = new(
            _ => Task.CompletedTask,
            (s, _) => TrustSignerAsync(s),
            async s => Assert.Equal(1, await s.CountEventsAsync("policy.signer_changed"))),
        ["trust a signer no more"] = new(
            async a =>
            {
                Assert.True(await TrustSignerAsync(a.Service));
                a.Service.Clock.Advance(TimeSpan.FromSeconds(1));
            },
            async (s, _) =>
            {
                using var approver = s.CreateClient(s.TokenOf("approver"));
                return (await approver.SendAsync("DELETE", "/v1/policy-signers/alice")).Status is HttpStatusCode.NoContent or HttpStatusCode.NotFound;
            },
            async s => Assert.InRange(await s.CountEventsAsync("policy.signer_changed"), 2, 3)),
        ["delete a policy"] = new(
            a => a.PutPolicyAsync(),
            async (s, _) => (await s.Operator.SendAsync("DELETE", "/v1/policies/node")).Status is HttpStatusCode.NoContent or HttpStatusCode.NotFound,
            async s =>
            {
                Assert.Equal(HttpStatusCode.NotFound, (await s.Operator.SendAsync("GET", "/v1/policies/node")).Status);
                Assert.InRange(await s.CountEventsAsync("policy.deleted"), 1, 2); // it is told before it is done
            }),
        ["trust no certificate any more"] = new(
            async a =>
            {
                (await a.Service.Operator.SendAsync("POST", "/v1/trust", TestCertificates.Root.ExportCertificatePem(), "application/x-pem-file")).Expect(HttpStatusCode.OK);
                a.Service.Clock.Advance(TimeSpan.FromSeconds(1));
            },
            async (s, _) => (await s.Operator.SendAsync("DELETE", $"/v1/trust/{Thumbprint}")).Status is HttpStatusCode.NoContent or HttpStatusCode.NotFound,
            async s =>
            {
                Assert.Empty((await s.Operator.SendAsync("GET", "/v1/trust")).Expect(HttpStatusCode.OK)["certificates"]!.AsArray());
                Assert.InRange(await s.CountEventsAsync("trust.changed"), 2, 3);
            }),
        ["put a rule"] = new(
            _ => Task.CompletedTask,
            async (s, _) => (await s.Operator.SendAsync("PUT", "/v1/enrolment-rules/listed", new JsonObject { ["kind"] = "ek-list" })).Status == HttpStatusCode.OK,
            async s => Assert.Equal(1, await s.CountEventsAsync("rule.changed"))),
        ["put another rule"] = new(
            async a =>
            {
                (await a.Service.Operator.SendAsync("PUT", "/v1/enrolment-rules/listed", new JsonObject { ["kind"] = "ek-list" })).Expect(HttpStatusCode.OK);
                a.Service.Clock.Advance(TimeSpan.FromSeconds(1));
            },
            async (s, _) => (await s.Operator.SendAsync("PUT", "/v1/enrolment-rules/listed", new JsonObject { ["kind"] = "ek-list", ["idPrefix"] = "rack-" })).Status == HttpStatusCode.OK,
            async s => Assert.Equal(2, await s.CountEventsAsync("rule.changed"))),
        ["delete a rule"] = new(
            async a =>
            {
                (await a.Service.Operator.SendAsync("PUT", "/v1/enrolment-rules/listed", new JsonObject { ["kind"] = "ek-list" })).Expect(HttpStatusCode.OK);
                a.Service.Clock.Advance(TimeSpan.FromSeconds(1));
            },
            async (s, _) => (await s.Operator.SendAsync("DELETE", "/v1/enrolment-rules/listed")).Status is HttpStatusCode.NoContent or HttpStatusCode.NotFound,
            async s =>
            {
                Assert.Empty((await s.Operator.SendAsync("GET", "/v1/enrolment-rules")).Expect(HttpStatusCode.OK)["rules"]!.AsArray());
                Assert.InRange(await s.CountEventsAsync("rule.changed"), 2, 3);
            }),
        ["list endorsement keys"] = new(
            _ => Task.CompletedTask,
            async (s, _) => (await s.Operator.SendAsync("POST", "/v1/known-keys", new JsonObject { ["keys"] = new JsonArray([.. "abc".Select(static c => (JsonNode)new JsonObject { ["hash"] = new string(c, 64) })]) })).Status == HttpStatusCode.OK,
            async s =>
            {
                Assert.Equal(3, (await s.Operator.SendAsync("GET", "/v1/known-keys")).Expect(HttpStatusCode.OK)["keys"]!.AsArray().Count);
                Assert.InRange(await s.CountEventsAsync("rule.changed"), 1, 2);
            }),
        ["take an endorsement key from the list"] = new(
            a => a.ListKeyAsync(),
            async (s, a) => (await s.Operator.SendAsync("DELETE", $"/v1/known-keys/{a.EndorsementKeyHash}")).Status is HttpStatusCode.NoContent or HttpStatusCode.NotFound,
            async s =>
            {
                Assert.Empty((await s.Operator.SendAsync("GET", "/v1/known-keys")).Expect(HttpStatusCode.OK)["keys"]!.AsArray());
                Assert.InRange(await s.CountEventsAsync("rule.changed"), 2, 3);
            }),
        ["make a token"] = new(
            _ => Task.CompletedTask,
            // Where its answer was lost, so is the token: the name is taken, and that is said.
            async (s, _) => (await s.Operator.SendAsync("POST", "/v1/tokens", new JsonObject { ["name"] = "ci", ["role"] = "auditor" })).Status is HttpStatusCode.Created or HttpStatusCode.Conflict,
            async s =>
            {
                Assert.Contains("\"ci\"", (await s.Operator.SendAsync("GET", "/v1/tokens")).Text, StringComparison.Ordinal);
                Assert.InRange(await s.CountEventsAsync("token.created"), 1, 2);
            }),
        ["revoke a token"] = new(
            async a => (await a.Service.Operator.SendAsync("POST", "/v1/tokens", new JsonObject { ["name"] = "ci", ["role"] = "auditor" })).Expect(HttpStatusCode.Created),
            async (s, _) => (await s.Operator.SendAsync("DELETE", "/v1/tokens/ci")).Status is HttpStatusCode.NoContent or HttpStatusCode.NotFound,
            async s =>
            {
                Assert.DoesNotContain("\"ci\"", (await s.Operator.SendAsync("GET", "/v1/tokens")).Text, StringComparison.Ordinal);
                Assert.InRange(await s.CountEventsAsync("token.revoked"), 1, 2);
            }),
        ["put a webhook"] = new(
            _ => Task.CompletedTask,
            (s, _) => PutWebhookAsync(s, "node.failed"),
            async s =>
            {
                Assert.NotNull((await s.Operator.SendAsync("GET", "/v1/webhooks/w")).Expect(HttpStatusCode.OK)["webhook"]);
                Assert.Equal(1, await s.CountEventsAsync("webhook.changed"));
            }),
        ["put a webhook otherwise"] = new(
            async a =>
            {
                Assert.True(await PutWebhookAsync(a.Service, "node.failed"));
                a.Service.Clock.Advance(TimeSpan.FromSeconds(1));
            },
            (s, _) => PutWebhookAsync(s, "node.*"),
            async s => Assert.Equal(2, await s.CountEventsAsync("webhook.changed"))),
        ["give a webhook another secret"] = new(
            async a =>
            {
                Assert.True(await PutWebhookAsync(a.Service, "node.failed"));
                a.Service.Clock.Advance(TimeSpan.FromSeconds(1));
            },
            // Where its answer was lost, so is the secret: another one is made.
            async (s, _) => (await s.Operator.SendAsync("POST", "/v1/webhooks/w/rotate", "{}")).Status == HttpStatusCode.OK,
            async s => Assert.InRange(await s.CountEventsAsync("webhook.changed"), 2, 3)),
        ["remove a webhook"] = new(
            async a =>
            {
                Assert.True(await PutWebhookAsync(a.Service, "node.failed"));
                await a.Service.HappenAsync("node", "node.failed");
                a.Service.Clock.Advance(TimeSpan.FromSeconds(1));
            },
            async (s, _) => (await s.Operator.SendAsync("DELETE", "/v1/webhooks/w")).Status is HttpStatusCode.NoContent or HttpStatusCode.NotFound,
            async s =>
            {
                Assert.Empty((await s.Operator.SendAsync("GET", "/v1/webhooks")).Expect(HttpStatusCode.OK)["webhooks"]!.AsArray());
                Assert.InRange(await s.CountEventsAsync("webhook.changed"), 2, 3);
            }),
        ["replay to a webhook"] = new(
            async a =>
            {
                await a.Service.HappenAsync("node", "node.failed", 1);
                await a.Service.HappenAsync("node", "node.failed", 2);
                Assert.True(await PutWebhookAsync(a.Service, "node.failed"));
            },
            async (s, _) => (await s.Operator.SendAsync("POST", "/v1/webhooks/w/replay?since=2020-01-01T00:00:00Z")).Status == HttpStatusCode.Accepted,
            async s => Assert.Equal(2, (await s.DeliveriesAsync("w", "pending")).Length)),
        ["tell of a row that cannot be read"] = new(
            async a => Assert.True(await a.Service.Get<IRecordStore<Registration>>().TryAddAsync(await a.FromTheFutureAsync(), default)),
            async (s, _) =>
            {
                await s.Get<IRecordStore<Registration>>().ListAsync(null, 10, default);
                return await s.SweepAsync();
            },
            async s => Assert.Equal(1, await s.CountEventsAsync("storage.row_unreadable"))),
    };

    // To nowhere: what is sent there fails.
    private static async Task<bool> PutWebhookAsync(TestService service, string events) =>
        (await service.Operator.SendAsync("PUT", "/v1/webhooks/w", new JsonObject { ["url"] = "https://127.0.0.1:1/", ["events"] = new JsonArray(events) })).Status == HttpStatusCode.OK;

    private static async Task<bool> TrustSignerAsync(TestService service)
    {
        using var approver = service.CreateClient(service.TokenOf("approver"));
        return (await approver.SendAsync("PUT", "/v1/policy-signers/alice", Signer, "application/x-pem-file")).Status == HttpStatusCode.OK;
    }
}
