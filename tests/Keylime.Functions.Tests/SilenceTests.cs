using System.Net;
using Keylime.Functions.Nodes;
using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Sqlite;
using Keylime.Functions.Verifier;

namespace Keylime.Functions.Tests;

/// <summary>Silence of nodes, told apart from silence of the service, of its timer and of its clock.</summary>
public sealed class SilenceTests(AzuriteFixture fixture) : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("silence-").FullName;
    private readonly SteppedClock _clock = new(TimeProvider.System.GetUtcNow());

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_service_that_was_away_gives_every_node_its_time_anew_and_says_so_once()
    {
        TestAgent agent, gone;
        await using (var before = await TestService.StartAsync(folder: _folder, clock: _clock))
        {
            gone = await TestAgent.EnrolledAsync(before, "gone");
            await gone.AttestAsync();
            _clock.Advance(TimeSpan.FromSeconds(290));
            agent = await TestAgent.EnrolledAsync(before, "node");
            await agent.AttestAsync();
            _clock.Advance(TimeSpan.FromSeconds(15));
            Assert.True(await before.SweepAsync());
            Assert.Equal(["silent", "trusted"], await StatesAsync(before));
        }

        _clock.Advance(TimeSpan.FromHours(1));
        await using var service = await TestService.StartAsync(folder: _folder, clock: _clock);
        Assert.Equal(["silent", "trusted"], await StatesAsync(service)); // before any sweep: whoever asks first knows
        Assert.True(await service.SweepAsync());
        Assert.True(await service.SweepAsync());
        Assert.Equal(["silent", "trusted"], await StatesAsync(service));
        Assert.Equal(1, await service.CountEventsAsync("service.gap"));
        Assert.DoesNotContain("node.late", await service.EventTypesAsync());

        foreach (var (seconds, state) in ((int, string)[])[(119, "trusted"), (2, "late"), (177, "late"), (3, "silent")])
        {
            _clock.Advance(TimeSpan.FromSeconds(seconds));
            Assert.Equal(["silent", state], await StatesAsync(service));
            Assert.True(await service.SweepAsync());
        }

        Assert.Equal(["node.late", "node.silent"], (await service.EventTypesAsync()).Where(static t => t is "node.late" or "node.silent").Order());
        Assert.Equal(2, await service.CountEventsAsync("node.silent")); // the other one's, of before
        using (agent)
        using (gone)
        using (var back = agent.At(service))
        {
            await back.AuthenticateAsync();
            await back.AttestAsync();
        }

        Assert.Equal(["node.late", "node.returned", "node.silent"], (await service.EventTypesAsync()).Where(static t => t is "node.late" or "node.silent" or "node.returned").Order());
    }

    [Fact]
    public async Task A_node_that_comes_right_after_the_gap_was_never_overdue()
    {
        TestAgent agent;
        await using (var before = await TestService.StartAsync(folder: _folder, clock: _clock))
        {
            agent = await TestAgent.EnrolledAsync(before, "node");
            await agent.AttestAsync();
            Assert.True(await before.SweepAsync());
        }

        _clock.Advance(TimeSpan.FromDays(1));
        await using var service = await TestService.StartAsync(folder: _folder, clock: _clock);
        using (agent)
        using (var back = agent.At(service))
        {
            await back.AuthenticateAsync();
            await back.AttestAsync();
        }

        Assert.True(await service.SweepAsync());
        Assert.Equal(["node.enrolled", "node.trusted", "registration.activated"], (await service.EventTypesAsync()).Where(static t => t != "node.pending").Order());
    }

    [Fact]
    public async Task A_second_gap_gives_the_time_again()
    {
        using (var first = await RunAsync(async (s, a) => await a.AttestAsync()))
        {
            for (var gap = 1; gap <= 3; gap++)
            {
                _clock.Advance(TimeSpan.FromMinutes(20));
                await using var service = await TestService.StartAsync(folder: _folder, clock: _clock);
                Assert.True(await service.SweepAsync());
                Assert.Equal("trusted", await service.StateOfNodeAsync());
                Assert.Equal(gap, await service.CountEventsAsync("service.gap"));
                for (var i = 0; i < 5; i++)
                {
                    _clock.Advance(TimeSpan.FromSeconds(20));
                    Assert.True(await service.SweepAsync());
                }

                Assert.Equal("trusted", await service.StateOfNodeAsync());
            }
        }
    }

    [Fact]
    public async Task A_clock_that_jumps_a_day_ahead_makes_nobody_silent()
    {
        await using var service = await TestService.StartAsync(folder: _folder, clock: _clock);
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();
        Assert.True(await service.SweepAsync());

        _clock.Step(TimeSpan.FromDays(1));
        Assert.Equal("trusted", await service.StateOfNodeAsync());
        Assert.True(await service.SweepAsync());
        Assert.Equal("trusted", await service.StateOfNodeAsync());
        Assert.Equal(1, await service.CountEventsAsync("service.gap"));
        _clock.Advance(TimeSpan.FromSeconds(300));
        Assert.True(await service.SweepAsync());
        await service.IsAsync("silent", "No evidence");
        await service.ToldOnceAsync("node.late", "node.silent");
    }

    [Fact]
    public async Task A_clock_that_goes_back_a_day_keeps_no_node_waiting_and_is_told()
    {
        await using var service = await TestService.StartAsync(folder: _folder, clock: _clock);
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();
        Assert.True(await service.SweepAsync());

        _clock.Step(TimeSpan.FromDays(-1));
        Assert.True(await service.SweepAsync());
        Assert.Equal(1, await service.CountEventsAsync("service.gap"));
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        _clock.Advance(TimeSpan.FromSeconds(121));
        Assert.True(await service.SweepAsync());
        await service.IsAsync("late", "was due");
        _clock.Advance(TimeSpan.FromSeconds(180));
        Assert.True(await service.SweepAsync());
        await service.ToldOnceAsync("node.late", "node.silent");
    }

    [Fact]
    public async Task A_timer_that_did_not_run_hides_no_silence_and_is_told()
    {
        await using var service = await TestService.StartAsync(folder: _folder, clock: _clock, configure: Hosted);
        Assert.True(await service.SweepAsync());
        var node = StoreContract.Sample("node") with { Last = new LastVerdict(0, _clock.GetUtcNow(), true, new Protocol.Api.Coverage("ek-key", "none", "ima"), "") };
        Assert.NotNull(await service.Get<INodeStore>().TryAddAsync(
            node with { LateAt = NodeStates.LateAt(node.Last.At, 60), SilentAt = NodeStates.SilentAt(node.Last.At, 60) }, Cancel));
        _clock.Advance(TimeSpan.FromHours(1)); // no host calls
        Assert.Equal(Protocol.Api.NodeState.Silent, NodeStates.Of((await service.Get<INodeStore>().FindAsync(node.Id, Cancel))!.Value, await service.Get<Heartbeat>().NowAsync(Cancel)));
        Assert.True(await service.SweepAsync());
        var told = (await service.Get<IEventStore>().ListAsync(new EventQuery(), null, 100, Cancel)).Items;
        Assert.Equal(["node.late", "node.silent", "service.gap"], told.Select(static e => e.Type).Where(static t => t.StartsWith("node.", StringComparison.Ordinal) || t == "service.gap").Order());
        Assert.Contains(told, static e => e.Detail.StartsWith("No sweep ran from", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Two_instances_that_sweep_at_once_tell_the_same_truth()
    {
        using var agent = await RunAsync(async (s, a) => await a.AttestAsync());
        _clock.Advance(TimeSpan.FromHours(1));
        await using var one = await TestService.StartAsync(folder: _folder, clock: _clock);
        await using var two = await TestService.StartAsync(folder: _folder, clock: _clock);
        for (var round = 0; round < 12; round++)
        {
            Assert.All(await Task.WhenAll(one.SweepAsync(), two.SweepAsync(), one.SweepAsync(), two.SweepAsync()), Assert.True);
            Assert.Equal(await one.StateOfNodeAsync(), await two.StateOfNodeAsync());
            _clock.Advance(TimeSpan.FromSeconds(29));
        }

        Assert.Equal("silent", await one.StateOfNodeAsync());
        await two.ToldOnceAsync("node.late", "node.silent");
        Assert.Equal(1, await two.CountEventsAsync("service.gap"));
    }

    [Fact]
    public async Task A_heartbeat_that_cannot_be_read_keeps_nobody_from_attesting_and_no_silence_from_being_told()
    {
        await using var service = await TestService.StartAsync(folder: _folder, clock: _clock);
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        Assert.True(await service.SweepAsync());
        using (var database = SqliteDatabase.Open(Path.Combine(_folder, "keylime.db")))
            await database.WriteAsync(static c => c.Execute("UPDATE timers SET body = x'7b' WHERE name = 'sweep'"), Cancel);
        _clock.Advance(TimeSpan.FromSeconds(16));
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        _clock.Advance(TimeSpan.FromSeconds(301));
        Assert.True(await service.SweepAsync());
        await service.ToldOnceAsync("node.late", "node.silent");
        Assert.Equal(1, await service.CountEventsAsync("storage.row_unreadable"));
    }

    [Fact]
    public async Task What_a_crash_left_in_the_history_is_told_though_the_sweep_has_passed_its_time()
    {
        await using var service = await TestService.StartAsync(folder: _folder, clock: _clock);
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var nodes = service.Get<INodeStore>();
        var asked = await agent.AskedAsync();
        var open = (await nodes.FindAsync(Protocol.AgentId.Parse("node"), Cancel))!.Value;
        (await agent.SubmitAsync(asked, agent.Collect(asked))).Expect(HttpStatusCode.Accepted);
        var settled = (await nodes.FindAsync(open.Id, Cancel))!;
        Assert.NotNull(await nodes.TryReplaceAsync(settled, open, Cancel)); // as a crash between the two writes leaves it
        for (var i = 0; i < 30; i++)
        {
            _clock.Advance(TimeSpan.FromSeconds(20));
            Assert.True(await service.SweepAsync());
        }

        await service.IsAsync("silent", "No evidence"); // the look brings the verdict in
        await service.ToldOnceAsync("node.late", "node.silent");
    }

    [Fact]
    public void Nodes_are_told_their_own_interval_with_some_jitter_the_same_whenever_it_is_asked()
    {
        foreach (var interval in (int[])[1, 2, 10, 19, 20, 60, 3600, 86_400])
        {
            for (var attestation = 0; attestation < 200; attestation++)
            {
                var node = Protocol.AgentId.Parse($"node-{attestation % 7}");
                var seconds = NodeStates.SecondsToNext(node, attestation, interval);
                Assert.Equal(seconds, NodeStates.SecondsToNext(node, attestation, interval));
                Assert.InRange(seconds, Math.Ceiling(interval * 0.95), interval * 1.05);
            }
        }
    }

    [Fact]
    public async Task Nodes_that_came_at_once_are_told_to_come_at_different_times_and_are_awaited_then()
    {
        Assert.True(Enumerable.Range(0, 1000).Select(static i => NodeStates.SecondsToNext(Protocol.AgentId.Parse($"node-{i}"), 7, 3600)).Distinct().Count() > 200);
        await using var service = await TestService.StartAsync(folder: _folder, clock: _clock);
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AskedAsync();
        var told = (await agent.SubmitAsync(asked, agent.Collect(asked))).Expect(HttpStatusCode.Accepted)["meta"]!["seconds_to_next_attestation"]!.GetValue<int>();
        var node = (await agent.NodeAsync())["node"]!;
        Assert.Equal(told, (node["nextExpectedAt"]!.GetValue<DateTimeOffset>() - node["lastVerdictAt"]!.GetValue<DateTimeOffset>()).TotalSeconds);
        _clock.Advance(TimeSpan.FromSeconds(told));
        await agent.AskedAsync(); // not premature
    }

    [Fact]
    public async Task A_sweep_reads_pages_of_a_thousand_and_no_single_node()
    {
        const int count = 1200;
        using var fuse = await AzureFuse.CreateAsync(fixture);
        await using var service = await TestService.StartAsync(fuse.Install, _folder, _clock, configure: Hosted);
        var (nodes, now) = (service.Get<INodeStore>(), _clock.GetUtcNow());
        await Parallel.ForAsync(0, count, new ParallelOptions { MaxDegreeOfParallelism = 16, CancellationToken = Cancel }, async (i, cancel) =>
            await nodes.TryAddAsync(StoreContract.Sample($"node-{i}") with
            {
                Last = new LastVerdict(0, now.AddMinutes(-50), true, new Protocol.Api.Coverage("ek-key", "none", "ima"), ""),
                LateAt = now.AddMinutes(-48),
                SilentAt = now.AddMinutes(-45),
            }, cancel));

        // All of them were due while the service was away: all are looked at, and have time still.
        await service.Get<IRecordStore<TimerState>>().TryAddAsync(
            new TimerState { Name = Heartbeat.Name, At = now, ToldTo = now.AddMinutes(-1), Gaps = [new Gap(now.AddMinutes(-49.5), now.AddMinutes(-1), Down: true)] }, Cancel);
        fuse.Seen.Clear();
        Assert.True(await service.SweepAsync());

        var requests = fuse.Seen.ToArray();
        var pages = requests.Count(static r => r.Contains("/keylimenodes", StringComparison.Ordinal) && !r.Contains("select=", StringComparison.Ordinal));
        Assert.DoesNotContain(requests, static r => r.Contains("/keylimenodes(PartitionKey=", StringComparison.Ordinal));
        Assert.Equal((count + 999) / 1000, pages);
        const int fleet = 6; // the count of the fleet: two pages of columns, and its row, claimed and written, each after it was read; the webhooks whose outboxes would be counted
        Assert.Equal(2, requests.Count(static r => r.Contains("select=", StringComparison.Ordinal)));
        Assert.Equal(pages + 6 + fleet + 1, requests.Length); // its heartbeat, read and written; which webhooks there are, and the gap's event, in two rows; the heartbeat is read before it is written
        TestContext.Current.SendDiagnosticMessage($"sweep of {count} nodes that are all overdue: {requests.Length} requests, {pages} of them pages");

        // Within five minutes nobody counts again.
        _clock.Advance(TimeSpan.FromMinutes(1));
        fuse.Seen.Clear();
        Assert.True(await service.SweepAsync());
        Assert.DoesNotContain(fuse.Seen, static r => r.Contains("select=", StringComparison.Ordinal));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static Hosting.ServiceOptions Hosted(Hosting.ServiceOptions options) => options with { HandlerPort = FreePort() };

    private static int FreePort()
    {
        using var listener = new System.Net.Sockets.TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private async Task<TestAgent> RunAsync(Func<TestService, TestAgent, Task> work)
    {
        await using var service = await TestService.StartAsync(folder: _folder, clock: _clock);
        var agent = await TestAgent.EnrolledAsync(service, "node");
        await work(service, agent);
        Assert.True(await service.SweepAsync());
        return agent;
    }

    /// <summary>Of all nodes in the order of their ids; lists by state, each of them, agree with the list of all and with the single look.</summary>
    private static async Task<string[]> StatesAsync(TestService service)
    {
        var all = (await service.Operator.SendAsync("GET", "/v1/nodes")).Expect(HttpStatusCode.OK)["nodes"]!.AsArray()
            .ToDictionary(static n => n!["id"]!.GetValue<string>(), static n => n!["state"]!.GetValue<string>());
        foreach (var state in Enum.GetNames<Protocol.Api.NodeState>().Select(static s => s.ToLowerInvariant()))
        {
            var listed = (await service.Operator.SendAsync("GET", $"/v1/nodes?state={state}")).Expect(HttpStatusCode.OK)["nodes"]!.AsArray().Select(static n => n!["id"]!.GetValue<string>());
            Assert.Equal(all.Where(n => n.Value == state).Select(static n => n.Key).Order(), listed.Order());
        }

        foreach (var (id, state) in all)
            Assert.Equal(state, (await service.Operator.SendAsync("GET", $"/v1/nodes/{id}")).Expect(HttpStatusCode.OK)["node"]!["state"]!.GetValue<string>());
        return [.. all.OrderBy(static n => n.Key, StringComparer.Ordinal).Select(static n => n.Value)];
    }
}
