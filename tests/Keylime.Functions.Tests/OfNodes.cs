using System.Net;
using System.Text.Json.Nodes;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol;

namespace Keylime.Functions.Tests;

/// <summary>What changes the state of a node, by its agent, by an operator, or by time.</summary>
internal static class OfNodes
{
    private const int Advance = 4; // the same, where the service asks in advance
    private const int Brief = 1; // seconds from one attestation to the next: so that no timer of the service runs before the change is over

    public static Dictionary<string, Change> Changes { get; } = new()
    {
        ["activate, and wait"] = new(
            a => a.RegisterOnlyAsync(),
            (s, a) => a.RegisterAsync(s),
            async s =>
            {
                await s.IsAsync("pending", "Waits for an operator");
                await s.ToldOnceAsync("registration.activated", "node.pending");
            }),
        ["activate, and be admitted by a rule"] = new(
            async a =>
            {
                await a.PutPolicyAsync();
                (await a.Service.Operator.SendAsync("PUT", "/v1/enrolment-rules/listed", new JsonObject { ["kind"] = "ek-list", ["node"] = new JsonObject { ["runtimePolicy"] = a.Id } })).Expect(HttpStatusCode.OK);
                await a.ListKeyAsync();
            },
            (s, a) => a.RegisterAsync(s),
            async s =>
            {
                await s.IsAsync("pending", "Enrolled, and not attested yet.");
                await s.ToldOnceAsync("registration.activated", "node.enrolled");
            }),
        ["enrol"] = new(
            async a =>
            {
                await a.RegisterAsync();
                await a.PutPolicyAsync();
            },
            async (s, a) => (await s.Operator.SendAsync("PUT", $"/v1/nodes/{a.Id}", new JsonObject { ["runtimePolicy"] = a.Id })).Status is HttpStatusCode.OK or HttpStatusCode.Created,
            async s =>
            {
                await s.IsAsync("pending", "Enrolled, and not attested yet.");
                await s.ToldOnceAsync("node.enrolled");
            })
        { Happened = static async (s, _) => (await s.Operator.SendAsync("GET", "/v1/nodes/node")) is { Status: HttpStatusCode.OK } found && !found.Text.Contains("Waits for", StringComparison.Ordinal) },
        ["propose another key"] = new(
            a => a.EnrolAsync(),
            (s, a) => a.WithNewKey().RegisterAsync(s),
            s => s.ToldOnceAsync("registration.key_change_proposed")),
        ["approve another key"] = new(
            async a =>
            {
                await a.EnrolAsync();
                await a.WithNewKey().RegisterAsync();
            },
            async (s, a) => (await s.Operator.SendAsync("POST", $"/v1/nodes/{a.Id}/approve", new JsonObject { ["attestationKeyName"] = Convert.ToHexStringLower(a.WithNewKey().Tpm.AttestationKey.ComputeName()) })).Status == HttpStatusCode.OK,
            async s =>
            {
                await s.ToldOnceAsync("registration.key_change_approved");
                var node = (await s.Operator.SendAsync("GET", "/v1/nodes/node")).Expect(HttpStatusCode.OK);
                Assert.Null(node["proposedKeyName"]);
                var registered = (await s.Operator.SendAsync("GET", "/v2.6/agents/node")).Json["results"]!["aik_tpm"]!.GetValue<string>();
                Assert.Equal(node["attestationKeyName"]!.GetValue<string>(), Convert.ToHexStringLower(Tpm.PublicArea.Parse(Convert.FromBase64String(registered)).ComputeName()));
            })
        { Happened = static async (s, a) => await s.KeyOfNodeAsync() == Convert.ToHexStringLower(a.WithNewKey().Tpm.AttestationKey.ComputeName()) },
        ["prove possession"] = new(
            a => a.EnrolAsync(),
            async (s, a) =>
            {
                using var here = a.At(s);
                var (session, challenge) = await here.OpenSessionAsync();
                return (await here.ProveAsync(session, here.Proof(challenge))).Status == HttpStatusCode.OK;
            },
            s => s.IsAsync("pending", "Enrolled, and not attested yet.")),
        ["pass"] = new(
            a => a.EnrolAsync(),
            (s, a) => a.AttestAtAsync(s),
            async s =>
            {
                await s.IsAsync("trusted", "Nothing speaks against it.");
                await s.ToldOnceAsync("node.trusted");
                await s.CountsAgreeAsync();
            })
        { Happened = static async (s, _) => await s.CountVerdictsAsync() > 0 },
        ["fail"] = new(
            async a =>
            {
                await a.EnrolAsync();
                await a.MeasureAsync("/evil");
            },
            (s, a) => a.AttestAtAsync(s),
            async s =>
            {
                await s.IsAsync("failed", "/evil");
                await s.ToldOnceAsync("node.failed");
                await s.CountsAgreeAsync();
            })
        { Happened = static async (s, _) => await s.CountVerdictsAsync() > 0 },
        ["fail at what was asked in advance"] = new(
            async a =>
            {
                await a.EnrolAsync(Advance);
                await a.AuthenticateAsync();
                a.AskedInAdvance = await a.AttestAndGoOnAsync();
                a.Wait(TimeSpan.FromSeconds(Advance));
                await a.MeasureAsync("/evil");
            },
            (s, a) => a.GoOnAtAsync(s),
            async s =>
            {
                await s.IsAsync("failed", "/evil");
                await s.ToldOnceAsync("node.trusted", "node.failed");
                await s.CountsAgreeAsync(3);
            })
        { Happened = static async (s, _) => await s.CountVerdictsAsync() > 1 },
        ["retire"] = new(
            a => a.EnrolAsync(),
            async (s, a) => (await s.Operator.SendAsync("POST", $"/v1/nodes/{a.Id}/retire")).Status == HttpStatusCode.OK,
            async s =>
            {
                await s.IsAsync("retired", "Retired");
                await s.ToldOnceAsync("node.retired");
            })
        { Happened = static async (s, _) => await s.StateOfNodeAsync() == "retired" },
        ["reactivate"] = new(
            async a =>
            {
                await a.EnrolAsync();
                (await a.Service.Operator.SendAsync("POST", $"/v1/nodes/{a.Id}/retire")).Expect(HttpStatusCode.OK);
            },
            async (s, a) => (await s.Operator.SendAsync("POST", $"/v1/nodes/{a.Id}/reactivate")).Status == HttpStatusCode.OK,
            async s =>
            {
                await s.IsAsync("pending", "");
                await s.ToldOnceAsync("node.reactivated");
            })
        { Happened = static async (s, _) => await s.StateOfNodeAsync() != "retired" },
        ["forget a registration"] = new(
            a => a.RegisterAsync(),
            async (s, a) => (await s.Operator.SendAsync("DELETE", $"/v2.6/agents/{a.Id}")).Status is HttpStatusCode.OK or HttpStatusCode.NotFound,
            async s =>
            {
                Assert.Equal(HttpStatusCode.NotFound, (await s.Operator.SendAsync("GET", "/v2.6/agents/node")).Status);
                Assert.Contains("registration.deleted", await s.EventTypesAsync());
            }),
        ["admit one that waits"] = new(
            async a =>
            {
                await a.RegisterAsync();
                await a.PutPolicyAsync();
            },
            async (s, a) => (await s.Operator.SendAsync("POST", "/v1/nodes/node/approve", new JsonObject
            {
                ["attestationKeyName"] = Convert.ToHexStringLower(a.Tpm.AttestationKey.ComputeName()),
                ["node"] = new JsonObject { ["runtimePolicy"] = a.Id },
            })).Status is HttpStatusCode.OK or HttpStatusCode.Created,
            async s =>
            {
                await s.IsAsync("pending", "Enrolled, and not attested yet.");
                await s.ToldOnceAsync("node.enrolled");
            }),
        ["admit one that waits, with another key"] = new(
            async a =>
            {
                await a.RegisterAsync();
                await a.WithNewKey().RegisterAsync();
            },
            async (s, a) => (await s.Operator.SendAsync("POST", "/v1/nodes/node/approve", new JsonObject { ["attestationKeyName"] = Convert.ToHexStringLower(a.WithNewKey().Tpm.AttestationKey.ComputeName()) })).Status
                is HttpStatusCode.OK or HttpStatusCode.Created,
            async s =>
            {
                await s.IsAsync("pending", "Enrolled, and not attested yet.");
                await s.ToldOnceAsync("registration.key_change_approved", "node.enrolled");
                Assert.Null((await s.Operator.SendAsync("GET", "/v1/nodes/node")).Expect(HttpStatusCode.OK)["proposedKeyName"]);
            }),
        ["give other settings"] = new(
            a => a.EnrolAsync(),
            async (s, _) => (await s.Operator.SendAsync("PATCH", "/v1/nodes/node", new JsonObject { ["intervalSeconds"] = 77 })).Status == HttpStatusCode.OK,
            async s =>
            {
                Assert.Equal(77, await s.IntervalOfNodeAsync());
                await s.ToldOnceAsync("node.changed");
            })
        { Happened = static async (s, _) => await s.IntervalOfNodeAsync() == 77 },
        ["enrol a retired one anew"] = new(
            async a =>
            {
                await a.EnrolAsync();
                (await a.Service.Operator.SendAsync("POST", "/v1/nodes/node/retire")).Expect(HttpStatusCode.OK);
                a.Service.Clock.Advance(TimeSpan.FromSeconds(1));
            },
            async (s, a) => (await s.Operator.SendAsync("PUT", "/v1/nodes/node", new JsonObject { ["runtimePolicy"] = a.Id })).Status is HttpStatusCode.OK or HttpStatusCode.Created,
            async s =>
            {
                await s.IsAsync("pending", "Enrolled, and not attested yet.");
                Assert.Equal(2, (await s.EventTypesAsync()).Count(static t => t == "node.enrolled"));
            }),
        ["pass after a failure"] = new(
            async a =>
            {
                await a.EnrolAsync(Brief);
                await a.MeasureAsync("/evil");
                Assert.True(await a.AttestAtAsync(a.Service));
                await a.PutPolicyAsync();
                a.Service.Clock.Advance(TimeSpan.FromSeconds(Brief));
            },
            (s, a) => a.AttestAtAsync(s),
            async s =>
            {
                await s.IsAsync("trusted", "Nothing speaks against it.");
                await s.ToldOnceAsync("node.failed", "node.recovered");
                await s.CountsAgreeAsync(3);
            })
        { Happened = static async (s, _) => await s.CountVerdictsAsync() > 1 },
        ["pass after silence"] = new(
            async a =>
            {
                await a.EnrolAsync(Brief);
                Assert.True(await a.AttestAtAsync(a.Service));
                a.Service.Clock.Advance(TimeSpan.FromSeconds(6 * Brief)); // and no sweep in between
            },
            (s, a) => a.AttestAtAsync(s),
            async s =>
            {
                await s.IsAsync("trusted", "Nothing speaks against it.");
                await s.ToldOnceAsync("node.trusted", "node.late", "node.silent", "node.returned");
                await s.CountsAgreeAsync(3);
            })
        { Happened = static async (s, _) => await s.CountVerdictsAsync() > 1 },
        ["pass after a reboot"] = new(
            async a =>
            {
                await a.EnrolAsync(Brief);
                Assert.True(await a.AttestAtAsync(a.Service));
                await a.RebootAsync();
                a.Service.Clock.Advance(TimeSpan.FromSeconds(Brief));
            },
            (s, a) => a.AttestAtAsync(s),
            async s =>
            {
                await s.IsAsync("trusted", "Nothing speaks against it.");
                await s.ToldOnceAsync("node.rebooted");
                await s.CountsAgreeAsync(3);
            })
        { Happened = static async (s, _) => await s.CountVerdictsAsync() > 1 },
        ["fall silent"] = new(
            async a =>
            {
                await a.EnrolAsync(Brief);
                Assert.True(await a.AttestAtAsync(a.Service));
                a.Service.Clock.Advance(TimeSpan.FromSeconds(6 * Brief));
            },
            (s, _) => s.SweepAsync(),
            async s =>
            {
                await s.IsAsync("silent", "");
                await s.ToldOnceAsync("node.late", "node.silent");
            }),
        ["notice that the service was away"] = new(
            async a =>
            {
                await a.EnrolAsync(Brief);
                Assert.True(await a.AttestAtAsync(a.Service));
                Assert.True(await a.Service.SweepAsync());
                ((SteppedClock)a.Service.Clock).Step(TimeSpan.FromHours(1));
            },
            (s, _) => s.SweepAsync(),
            async s =>
            {
                await s.IsAsync("trusted", "");
                Assert.Equal(1, await s.CountEventsAsync("service.gap"));
                Assert.DoesNotContain("node.late", await s.EventTypesAsync());
            }),
        ["delete verdicts that have expired"] = new(
            async a =>
            {
                await a.EnrolAsync(Brief);
                Assert.True(await a.AttestAtAsync(a.Service));
                var (nodes, verdicts) = (a.Service.Get<INodeStore>(), a.Service.Get<IVerdictStore>());
                var node = (await nodes.FindAsync(AgentId.Parse(a.Id), TestContext.Current.CancellationToken))!;
                var first = (await verdicts.FindAsync(node.Value.Id, 0, TestContext.Current.CancellationToken))!;
                for (var number = 1; number < 4; number++)
                    Assert.True(await verdicts.TryAddAsync(first with { Evidence = null, Message = first.Message with { Attestation = number, At = first.Message.At.AddSeconds(number) } }, TestContext.Current.CancellationToken));
                Assert.NotNull(await nodes.TryReplaceAsync(node, node.Value with { NextAttestation = 5, Last = node.Value.Last! with { Attestation = 4 } }, TestContext.Current.CancellationToken));
                ((SteppedClock)a.Service.Clock).Step(TimeSpan.FromDays(10)); // no timer of the service comes first
            },
            async (s, _) =>
            {
                try
                {
                    await s.Get<Retention>().RunAsync(TestContext.Current.CancellationToken);
                    return true;
                }
                catch (StorageUnavailableException)
                {
                    return false;
                }
            },
            async s =>
            {
                Assert.Equal([0L, 3], (await s.Get<IVerdictStore>().ListSinceAsync(AgentId.Parse("node"), 0, 10, TestContext.Current.CancellationToken)).Select(static v => v.Message.Attestation)); // the evidence of its boot, and the newest pass
                var state = (await s.Get<IRecordStore<TimerState>>().FindAsync(Retention.Name, TestContext.Current.CancellationToken))!.Value;
                Assert.Equal((null, null), (state.Lap, state.Cursor));
                Assert.InRange(await s.CountEventsAsync(EventTypes.Retention), 0, 1); // what died between the two has deleted more than it told
            })
        { Options = static o => o with { KeepVerdicts = TimeSpan.FromDays(1) } },
        ["be healed by an operator"] = new(
            async a =>
            {
                await a.EnrolAsync(Brief);
                (await a.Service.Operator.SendAsync("PATCH", "/v1/nodes/node", """{"recovery":"operator"}""")).Expect(HttpStatusCode.OK);
                await a.MeasureAsync("/evil");
                Assert.True(await a.AttestAtAsync(a.Service));
                await a.PutPolicyAsync();
                a.Service.Clock.Advance(TimeSpan.FromSeconds(Brief));
                Assert.True(await a.AttestAtAsync(a.Service));
            },
            async (s, _) => (await s.Operator.SendAsync("POST", "/v1/nodes/node/recover")).Status == HttpStatusCode.OK,
            async s =>
            {
                await s.IsAsync("trusted", "Nothing speaks against it.");
                await s.ToldOnceAsync("node.failed", "node.recovered");
            })
        { Happened = static async (s, _) => await s.StateOfNodeAsync() == "trusted" },
        ["say that it cannot attest"] = new(
            a => a.EnrolAsync(),
            async (s, a) => await a.ReportErrorAsync(s) == HttpStatusCode.BadRequest,
            async s => Assert.Contains("attestation.agent_error", await s.EventTypesAsync())),
        ["answer with a wrong tag"] = new(
            a => a.RegisterOnlyAsync(),
            async (s, a) => (await s.Anonymous.SendAsync("PUT", "/v2.6/agents/node", new JsonObject { ["auth_tag"] = new string('0', 96) })).Status is HttpStatusCode.BadRequest or HttpStatusCode.NotFound,
            async s => Assert.Equal(HttpStatusCode.NotFound, (await s.Operator.SendAsync("GET", "/v2.6/agents/node")).Status)),
        ["take over a key that nobody holds any more"] = new(
            async a =>
            {
                using var former = new TestAgent(a.Service, "former", a.Tpm);
                await former.RegisterAsync();
                await a.Service.Get<IRecordStore<Registration>>().DropAsync("former"); // a crash of long ago: the claim outlived the registration
            },
            (s, a) => a.RegisterAsync(s),
            async s =>
            {
                await s.IsAsync("pending", "Waits for an operator");
                Assert.Equal(["node.pending", "registration.activated"], (await s.EventTypesAsync()).Order()); // the former one has its own
            }),
    };
}
