using System.Net;
using Keylime.Attestation;
using Keylime.Functions.Hosting;
using Keylime.Functions.Verifier;
using Keylime.Protocol;
using Keylime.Testing;
using Keylime.Tpm;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Functions.Tests;

/// <summary>More evidence than can be judged at once: what is taken in, who waits, who is told to come again, and that nobody is called silent for it.</summary>
public sealed class OverloadTests
{
    private const int Large = 100_000;
    private const int Room = 204_800; // of two large ones and a little

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Large_evidence_has_a_bound_waits_in_order_and_is_turned_away_and_small_evidence_has_room_of_its_own()
    {
        using var limit = new EvidenceLimit(Room, new FakeTimeProvider());
        var first = await limit.EnterAsync(Id(0), Large, Cancel);
        Assert.NotNull(first);
        var waiting = Enumerable.Range(1, 2).Select(i => limit.EnterAsync(Id(i), Large, Cancel).AsTask()).ToArray();
        Assert.NotNull(await waiting[0]);
        Assert.False(waiting[1].IsCompleted);
        var last = limit.EnterAsync(Id(3), Large, Cancel).AsTask(); // as many may wait as are taken in
        Assert.Null(await limit.EnterAsync(Id(4), Large, Cancel));
        Assert.Null(await limit.EnterAsync(Id(5), null, Cancel)); // whoever does not say how much

        for (var i = 10; i < 13; i++)
            Assert.NotNull(await limit.EnterAsync(Id(i), EvidenceLimit.Small, Cancel));

        first.Dispose();
        Assert.NotNull(await waiting[1]);
        Assert.False(last.IsCompleted);
        Assert.Null(await limit.EnterAsync(Id(1), Large, Cancel)); // it is sending one
        (await waiting[0])!.Dispose();
        Assert.NotNull(await last);
    }

    [Fact]
    public async Task Who_alone_is_longer_than_all_room_is_taken_in_alone()
    {
        using var limit = new EvidenceLimit(Room, new FakeTimeProvider());
        using (var whole = await limit.EnterAsync(Id(0), 64 * 1024 * 1024, Cancel))
        {
            Assert.NotNull(whole);
            Assert.False(limit.EnterAsync(Id(1), Large, Cancel).AsTask().IsCompleted);
        }

        Assert.NotNull(await limit.EnterAsync(Id(0), Large, Cancel)); // not its last list any more
    }

    [Fact]
    public void Times_to_come_again_are_one_behind_the_other_and_within_five_minutes()
    {
        var clock = new FakeTimeProvider();
        using var limit = new EvidenceLimit(64 * 1024 * 1024, clock);
        var waits = Enumerable.Range(0, 1000).Select(_ => limit.WhenAgain(4_000_000).TotalSeconds).ToArray();
        Assert.InRange(waits[0], 1, 2);
        Assert.InRange(waits[99], 0.85 * 50, 1.15 * 50); // a hundred times 4 MB, at 8 MB a second
        Assert.All(waits, static wait => Assert.InRange(wait, 1, 1.1 * 300 + 1));
        Assert.True(waits[500..].Distinct().Count() > 100); // at the bound too they do not come in one moment
        clock.Advance(TimeSpan.FromMinutes(6));
        Assert.InRange(limit.WhenAgain(4_000_000).TotalSeconds, 1, 2); // all of that is over
    }

    [Fact]
    public async Task A_machine_that_was_turned_away_comes_again_and_is_not_late_in_between()
    {
        using var judging = new SemaphoreSlim(0);
        var begun = new TaskCompletionSource();
        await using var service = await TestService.StartAsync(services =>
        {
            services.Replace(ServiceDescriptor.Singleton(static provider => new EvidenceLimit(Room / 2, provider.GetRequiredService<TimeProvider>())));
            services.Replace(ServiceDescriptor.Singleton<Appraiser>((request, evidence) =>
            {
                if (evidence.ImaLines?.Length > EvidenceLimit.Small)
                {
                    begun.SetResult();
                    judging.Wait(Cancel);
                }

                return Appraisal.Appraise(request, evidence);
            }));
        });
        var agents = new List<TestAgent>();
        for (var i = 0; i < 3; i++)
            agents.Add(await TestAgent.EnrolledAsync(service, $"node-{i}", new SoftwareTpm(TpmAlgorithm.Ecdsa)));
        foreach (var agent in agents)
            await agent.AttestAsync();
        service.Clock.Advance(TimeSpan.FromSeconds(1.9 * TestService.IntervalSeconds));

        // One long list is judged, as much waits, and the next one finds no room.
        var first = await SubmitLongAsync(agents[0]);
        await begun.Task;
        var second = service.Get<EvidenceLimit>().EnterAsync(Id(7), Large, Cancel).AsTask();
        var third = await await SubmitLongAsync(agents[1]);

        Assert.Equal(HttpStatusCode.ServiceUnavailable, third.Status);
        Assert.Equal("overloaded", third.Json["errors"]![0]!["code"]!.GetValue<string>());
        Assert.InRange(third.RetryAfter!.Value.TotalSeconds, 1, 10);
        Assert.Equal("pass", (await agents[2].AttestAsync())["evaluation"]!.GetValue<string>()); // a short list goes through meanwhile

        service.Clock.Advance(TimeSpan.FromSeconds(0.2 * TestService.IntervalSeconds)); // two intervals from its last verdict
        Assert.Equal("trusted", (await agents[1].NodeAsync())["node"]!["state"]!.GetValue<string>());
        judging.Release();
        Assert.Equal(HttpStatusCode.Accepted, (await first).Status);
        (await second)!.Dispose();
        service.Clock.Advance(TimeSpan.FromSeconds(2 * TestService.IntervalSeconds)); // it was to come long ago
        Assert.Equal("late", (await agents[1].NodeAsync())["node"]!["state"]!.GetValue<string>());
        await agents[1].AuthenticateAsync(); // its session is over, too
        Assert.Equal("pass", (await agents[1].AttestAsync())["evaluation"]!.GetValue<string>());
        agents.ForEach(static agent => agent.Dispose());
    }

    [Fact]
    public async Task A_machine_whose_evidence_waits_is_neither_late_nor_silent_and_one_that_never_finishes_is_not_put_off_for_ever()
    {
        await using var service = await TestService.StartAsync(static services =>
            services.Replace(ServiceDescriptor.Singleton(static provider => new EvidenceLimit(Room / 2, provider.GetRequiredService<TimeProvider>()))));
        using var agent = await TestAgent.EnrolledAsync(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        await agent.AttestAsync();
        service.Clock.Advance(TimeSpan.FromSeconds(1.9 * TestService.IntervalSeconds));
        using var before = await service.Get<EvidenceLimit>().EnterAsync(Id(7), Large, Cancel);
        Assert.NotNull(before);
        var waiting = await SubmitLongAsync(agent);
        var nodes = service.Get<Storage.INodeStore>();
        var since = service.Clock.GetUtcNow();
        while ((await nodes.FindAsync(AgentId.Parse("node"), Cancel))!.Value.LateAt <= since.AddSeconds(TestService.IntervalSeconds))
            await Task.Delay(10, Cancel); // it has come, and was put off

        for (var i = 0; i < 20; i++)
        {
            var late = (await nodes.FindAsync(AgentId.Parse("node"), Cancel))!.Value.LateAt;
            service.Clock.Advance(TimeSpan.FromSeconds(0.6 * TestService.IntervalSeconds));
            Assert.Equal("trusted", (await agent.NodeAsync())["node"]!["state"]!.GetValue<string>());
            while (service.Clock.GetUtcNow() - since < TimeSpan.FromMinutes(50) && (await nodes.FindAsync(AgentId.Parse("node"), Cancel))!.Value.LateAt == late)
                await Task.Delay(10, Cancel);
        }

        // An hour from when it would have been late, whatever it does.
        for (var i = 0; i < 20; i++)
        {
            service.Clock.Advance(TimeSpan.FromMinutes(5));
            await Task.Delay(20, Cancel);
        }

        Assert.Equal("silent", (await agent.NodeAsync())["node"]!["state"]!.GetValue<string>());
        before.Dispose();
        await waiting; // whatever became of it
    }

    private static async Task<Task<Reply>> SubmitLongAsync(TestAgent agent)
    {
        var asked = await agent.AskedAsync();
        return agent.SubmitAsync(asked, agent.Collect(asked) with { Lines = Enumerable.Repeat((byte)'x', 90_000).ToArray() });
    }

    private static AgentId Id(int i) => AgentId.Parse($"node-{i}");
}
