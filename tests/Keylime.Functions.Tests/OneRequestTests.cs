using System.Net;
using System.Text.Json.Nodes;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol;
using Microsoft.Extensions.DependencyInjection;

namespace Keylime.Functions.Tests;

/// <summary>Attestations in one request: what is proven next is asked with the answer to what was proven before.</summary>
public sealed class OneRequestTests
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(TestService.IntervalSeconds);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_node_that_passes_goes_on_with_one_request_each_and_each_with_a_nonce_of_its_own()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AttestAndGoOnAsync();
        var nonces = new HashSet<string> { Convert.ToHexString(asked.Nonce) };
        for (var i = 1; i < 6; i++)
        {
            agent.Wait(Interval);
            var reply = await agent.SubmitAndGoOnAsync(asked, agent.Collect(asked));
            Assert.Equal("pass", reply.Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!["evaluation"]!.GetValue<string>());
            Assert.InRange(reply.Json["meta"]!["seconds_to_token_expiry"]!.GetValue<int>(), 2 * TestService.IntervalSeconds, 4 * TestService.IntervalSeconds);
            Assert.Equal($"/v3.0/agents/node/attestations/{i}", asked.Location);
            asked = TestAgent.Next(reply)!;
            Assert.Equal(6, asked.Offset); // boot_aggregate and five programs are proven
            Assert.True(nonces.Add(Convert.ToHexString(asked.Nonce)));
        }

        // The lines since then come with the next, and are judged.
        await agent.MeasureAsync("/usr/bin/tool0");
        agent.Wait(Interval);
        asked = TestAgent.Next(await agent.SubmitAndGoOnAsync(asked, agent.Collect(asked)))!;
        Assert.Equal(7, asked.Offset);
        var node = await agent.NodeAsync();
        Assert.Equal(7, node["node"]!["attestations"]!.GetValue<int>());
        Assert.Equal("trusted", node["node"]!["state"]!.GetValue<string>());
    }

    [Fact]
    public async Task Who_does_not_want_it_is_asked_nothing_in_advance()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AskAsync();
        Assert.True(asked.Json["meta"]!["next_offered"]!.GetValue<bool>());
        var answer = await agent.SubmitAsync(TestAgent.Read(asked), agent.Collect(TestAgent.Read(asked)));
        Assert.Equal(["seconds_to_next_attestation"], answer.Expect(HttpStatusCode.Accepted)["meta"]!.AsObject().Select(static m => m.Key));
        Assert.Null((await service.Get<INodeStore>().FindAsync(AgentId.Parse("node"), Cancel))!.Value.Open);
    }

    [Fact]
    public async Task What_comes_before_it_is_due_is_told_to_come_again_and_its_nonce_is_good_then()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AttestAndGoOnAsync();
        agent.Wait(Interval / 2);
        var evidence = agent.Collect(asked);
        var early = await agent.SubmitAndGoOnAsync(asked, evidence);
        Assert.Equal((HttpStatusCode.TooManyRequests, "premature_attestation"), (early.Status, Code(early)));
        Assert.NotNull(early.RetryAfter);
        agent.Wait(Interval / 2);
        Assert.NotNull(TestAgent.Next(await agent.SubmitAndGoOnAsync(asked, agent.Collect(asked))));
    }

    [Fact]
    public async Task A_nonce_serves_once_and_not_for_ever()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AttestAndGoOnAsync();
        agent.Wait(Interval);
        var evidence = agent.Collect(asked);
        var next = TestAgent.Next(await agent.SubmitAndGoOnAsync(asked, evidence))!;
        Assert.Equal("old_attestation", Code(await agent.SubmitAndGoOnAsync(asked, evidence)));

        agent.Wait(Interval * 1.25 + TimeSpan.FromSeconds(61));
        Assert.Equal("challenges_expired", Code(await agent.SubmitAndGoOnAsync(next, agent.Collect(next))));
        next = await agent.AttestAndGoOnAsync(); // who comes too late asks
        agent.Wait(Interval);
        Assert.NotNull(TestAgent.Next(await agent.SubmitAndGoOnAsync(next, agent.Collect(next))));
    }

    [Fact]
    public async Task A_quote_that_was_made_long_before_it_came_is_not_taken_though_its_nonce_is()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AttestAndGoOnAsync();
        var early = agent.Collect(asked); // made while all was well, and kept
        agent.Wait(Interval);
        Assert.Equal("challenges_expired", Code(await agent.SubmitAndGoOnAsync(asked, early)));
        Assert.Equal(1, (await agent.NodeAsync())["node"]!["attestations"]!.GetValue<int>()); // it is no failure: it is asked again

        var next = await agent.AttestAndGoOnAsync();
        Assert.Equal("/v3.0/agents/node/attestations/3", next.Location);
        Assert.Equal("old_attestation", Code(await agent.SubmitAndGoOnAsync(asked, early)));
    }

    [Theory]
    [InlineData(52, true)] // 15 % slow, and within the slack
    [InlineData(37, true)]
    [InlineData(35, false)]
    [InlineData(0, false)]
    public async Task A_clock_that_is_slow_is_borne_with_to_a_bound(int seconds, bool good)
    {
        Assert.Equal(60, TestService.IntervalSeconds);
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AttestAndGoOnAsync();
        service.Clock.Advance(Interval);
        agent.Tpm.Clock = agent.Tpm.Clock with { Milliseconds = agent.Tpm.Clock.Milliseconds + (ulong)seconds * 1000 };
        Assert.Equal(good ? HttpStatusCode.Accepted : HttpStatusCode.Forbidden, (await agent.SubmitAndGoOnAsync(asked, agent.Collect(asked))).Status);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task After_a_sleep_or_a_boot_it_is_asked_anew(bool boot)
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AttestAndGoOnAsync();
        agent.Wait(Interval);
        if (boot)
            await agent.RebootAsync();
        else
            agent.Tpm.Suspend();
        Assert.Equal("challenges_expired", Code(await agent.SubmitAndGoOnAsync(asked, agent.Collect(asked))));
        asked = await agent.AskedAsync();
        Assert.Equal(boot ? 0 : 6, asked.Offset);
        Assert.Equal("pass", (await agent.SubmitAndGoOnAsync(asked, agent.Collect(asked))).Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!["evaluation"]!.GetValue<string>());
    }

    [Theory]
    [InlineData("policy")]
    [InlineData("pcrs")]
    public async Task Another_policy_asks_anew_and_judges(string change)
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AttestAndGoOnAsync();
        await agent.MeasureAsync("/usr/bin/other");
        if (change == "policy")
            await agent.PutPolicyAsync();
        else
            (await service.Operator.SendAsync("PATCH", "/v1/nodes/node", new JsonObject { ["pcrs"] = new JsonObject { ["16"] = new JsonArray(new string('0', 64)) } })).Expect(HttpStatusCode.OK);
        agent.Wait(Interval);
        Assert.Equal(change == "policy" ? "challenges_expired" : "evidence_immutable", Code(await agent.SubmitAndGoOnAsync(asked, agent.Collect(asked)))); // what an operator changes of a node takes back what was asked

        asked = await agent.AskedAsync();
        var answer = await agent.SubmitAndGoOnAsync(asked, agent.Collect(asked));
        Assert.Equal(change == "pcrs" ? "fail" : "pass", answer.Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!["evaluation"]!.GetValue<string>());
    }

    [Fact]
    public async Task What_fails_in_one_request_fails_and_what_is_retired_is_refused()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AttestAndGoOnAsync();
        agent.Wait(Interval);
        await agent.MeasureAsync("/usr/bin/miner");
        var answer = await agent.SubmitAndGoOnAsync(asked, agent.Collect(asked));
        Assert.Equal("ima.not_in_policy", answer.Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!["findings"]![0]!["code"]!.GetValue<string>());
        Assert.Null(TestAgent.Next(answer));

        await agent.PutPolicyAsync();
        agent.Wait(Interval);
        asked = await agent.AttestAndGoOnAsync();
        (await service.Operator.SendAsync("POST", "/v1/nodes/node/retire")).Expect(HttpStatusCode.OK);
        agent.Wait(Interval);
        var refused = await agent.SubmitAndGoOnAsync(asked, agent.Collect(asked));
        Assert.True(refused.Status is HttpStatusCode.Forbidden or HttpStatusCode.Unauthorized, refused.Text);
    }

    [Fact]
    public async Task Who_asks_though_it_was_asked_in_advance_is_asked_once_more_and_the_first_is_old()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var first = await agent.AttestAndGoOnAsync();
        Assert.Equal(HttpStatusCode.TooManyRequests, (await agent.AskAsync()).Status);
        agent.Wait(Interval);
        var second = await agent.AskedAsync();
        Assert.Equal("old_attestation", Code(await agent.SubmitAndGoOnAsync(first, agent.Collect(first))));
        Assert.Equal(HttpStatusCode.Accepted, (await agent.SubmitAsync(second, agent.Collect(second))).Status);
        Assert.Equal([2, 0], (await service.Operator.SendAsync("GET", "/v1/nodes/node/verdicts")).Expect(HttpStatusCode.OK)["verdicts"]!.AsArray().Select(static v => v!["attestation"]!.GetValue<int>()));
    }

    [Fact]
    public async Task Readers_see_what_was_judged_and_not_what_waits_for_its_time()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAndGoOnAsync();
        var latest = (await service.Operator.SendAsync("GET", "/v3.0/agents/node/attestations/latest")).Expect(HttpStatusCode.OK);
        Assert.Equal(("0", "verification_complete"), (latest["data"]!["id"]!.GetValue<string>(), latest["data"]!["attributes"]!["stage"]!.GetValue<string>()));
        Assert.Single((await service.Operator.SendAsync("GET", "/v3.0/agents/node/attestations")).Expect(HttpStatusCode.OK)["data"]!.AsArray());
    }

    [Fact]
    public async Task A_failure_that_a_crash_kept_from_the_row_is_told_by_the_sweep_though_nobody_comes_any_more()
    {
        var folder = Directory.CreateTempSubdirectory("advance-").FullName;
        try
        {
            var fuse = new StoreFuse();
            await using (var service = await TestService.StartAsync(fuse.Install, folder: folder))
            {
                using var agent = new TestAgent(service, "node");
                await agent.Ima.StartAsync(Cancel);
                await agent.EnrolAsync(interval: 4); // the clock wakes no timer of the service, which would write too
                await agent.AuthenticateAsync();
                var asked = await agent.AttestAndGoOnAsync();
                agent.Wait(TimeSpan.FromSeconds(4));
                await agent.MeasureAsync("/usr/bin/miner");
                fuse.Arm(2, after: true); // the line is among the blobs, and the verdict in the history; nothing else
                Assert.Equal(HttpStatusCode.ServiceUnavailable, (await agent.SubmitAndGoOnAsync(asked, agent.Collect(asked))).Status);
            }

            await using var again = await TestService.StartAsync(folder: folder);
            again.Clock.Advance(10 * Interval);
            await again.Get<Sweep>().RunAsync(Cancel);
            var events = (await again.Operator.SendAsync("GET", "/v1/nodes/node/events")).Expect(HttpStatusCode.OK)["events"]!.AsArray().Select(static e => e!["type"]!.GetValue<string>()).ToArray();
            Assert.Contains("node.failed", events);
            Assert.DoesNotContain("node.silent", events);
            Assert.Equal("failed", (await again.Operator.SendAsync("GET", "/v1/nodes?state=failed")).Expect(HttpStatusCode.OK)["nodes"]![0]!["state"]!.GetValue<string>());
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string Code(Reply refused) => refused.Json["errors"]![0]!["code"]!.GetValue<string>();
}
