using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol;
using Keylime.Protocol.Api;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Functions.Tests;

/// <summary>What is older than it is to be kept goes, and what speaks for or against a node stays.</summary>
public sealed class RetentionTests(AzuriteFixture fixture) : IDisposable
{
    private static readonly AgentId Id = AgentId.Parse("node");

    private readonly string _folder = Directory.CreateTempSubdirectory("retention-").FullName;
    private readonly FakeTimeProvider _clock = new(TimeProvider.System.GetUtcNow());

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("sqlite")]
    [InlineData("azure")]
    public async Task Of_each_node_the_last_pass_the_last_fail_and_the_evidence_of_its_boot_stay(string store)
    {
        using var fuse = store == "azure" ? await AzureFuse.CreateAsync(fixture) : null;
        await using var service = await StartAsync(fuse is null ? null : fuse.Install);
        var (nodes, verdicts) = (service.Get<INodeStore>(), service.Get<IVerdictStore>());
        foreach (var (history, stays) in ((string, string)[])
        [
            ("pppppppppppppppp", "....pppppppppppp"), // of the old ones the newest pass
            ("pfpfpppppppppppp", "...fpppppppppppp"), // and the newest fail
            ("ppppff", "ppppff"), // nothing is old
            ("eopppppppppppppp", "e...pppppppppppp"), // evidence of this boot
            ("ffffffffffffffff", "....ffffffffffff"),
        ])
        {
            var id = AgentId.Parse($"n-{history}");
            await AddAsync(nodes, verdicts, id, history, null);
            for (var run = 0; run < 2; run++)
                await service.Get<Retention>().RunAsync(Cancel);
            var left = (await verdicts.ListAsync(id, null, 100, Cancel)).Items.ToDictionary(static v => v.Message.Attestation);
            Assert.Equal(stays, string.Concat(history.Select((kind, number) => left.ContainsKey(number) ? kind : '.')));
        }

        Assert.Empty(fuse?.Unconditional ?? []);
        var told = (await service.Get<IEventStore>().ListAsync(new EventQuery(EventRecord.Service, [EventTypes.Retention]), null, 10, Cancel)).Items;
        Assert.EndsWith(": 4 verdicts, 0 events, 0 deliveries, 0 expired tokens.", Assert.Single(told).Detail, StringComparison.Ordinal); // all of them have one time, and so one key: the first
    }

    [Fact]
    public async Task What_the_row_has_not_taken_in_stays_so_that_no_nonce_is_spent_twice()
    {
        await using var service = await StartAsync(null);
        var (nodes, verdicts) = (service.Get<INodeStore>(), service.Get<IVerdictStore>());
        await AddAsync(nodes, verdicts, Id, "pppppppppppppppp", unsettledFrom: 2);
        await service.Get<Retention>().RunAsync(Cancel);
        Assert.Equal([.. Enumerable.Range(2, 14).Select(static i => (long)i)], (await verdicts.ListSinceAsync(Id, 0, 100, Cancel)).Select(static v => v.Message.Attestation));
    }

    [Fact]
    public async Task What_was_delivered_and_what_expired_goes_with_the_events_of_its_time()
    {
        await using var receiver = await HookServer.StartAsync(204, "", 0);
        await using var service = await TestService.StartAsync(folder: _folder, clock: _clock, configure: o => o with { KeepEvents = TimeSpan.FromDays(30), AllowedOutbound = [receiver.Authority] });
        await service.PutWebhookAsync("w", receiver, "{}");
        foreach (var name in (string[])["short", "long"])
            (await service.Operator.SendAsync("POST", "/v1/tokens", new System.Text.Json.Nodes.JsonObject { ["name"] = name, ["role"] = "auditor", ["days"] = name == "short" ? 1 : 365 })).Expect(System.Net.HttpStatusCode.Created);
        await service.HappenAsync("node", EventTypes.NodeFailed);
        await service.DeliverAsync();
        Assert.NotEmpty(await service.DeliveriesAsync("w", "deliveries"));
        _clock.Advance(TimeSpan.FromDays(29));
        await service.Get<Retention>().RunAsync(Cancel);
        var kept = (await service.DeliveriesAsync("w", "deliveries")).Length;
        Assert.NotEqual(0, kept);

        _clock.Advance(TimeSpan.FromDays(3));
        await service.Get<Retention>().RunAsync(Cancel);
        Assert.DoesNotContain(await service.DeliveriesAsync("w", "deliveries"), static d => d!.ToString().Contains("node.failed", StringComparison.Ordinal));
        var tokens = (await service.Operator.SendAsync("GET", "/v1/tokens")).Text;
        Assert.Contains("\"long\"", tokens, StringComparison.Ordinal);
        Assert.DoesNotContain("\"short\"", tokens, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Nothing_is_deleted_unless_somebody_says_so()
    {
        await using var service = await TestService.StartAsync(folder: _folder, clock: _clock);
        await AddAsync(service.Get<INodeStore>(), service.Get<IVerdictStore>(), Id, "pppppppppppppppp", null);
        await service.Get<IEventStore>().AddAsync(EventRecord.Of(Id, _clock.GetUtcNow().AddYears(-9), "node.failed", "x"), Cancel);
        await service.Get<Retention>().RunAsync(Cancel);
        Assert.Equal(16, (await service.Get<IVerdictStore>().ListAsync(Id, null, 100, Cancel)).Items.Count);
        Assert.Equal(1, await service.CountEventsAsync("node.failed"));
    }

    [Fact]
    public async Task A_fleet_of_more_than_one_run_is_gone_through_by_several_also_after_a_restart_and_each_ends_in_its_time()
    {
        const int fleet = 330;
        var began = _clock.GetUtcNow();
        await using (var service = await StartAsync(Slow, 10.5)) // nothing more expires in the minutes that this takes
        {
            for (var i = 0; i < fleet; i++)
                await AddAsync(service.Get<INodeStore>(), service.Get<IVerdictStore>(), AgentId.Parse($"node-{i}"), "ppppppppppppp", null);
            await RunInTimeAsync(service);
            var state = await StateAsync(service);
            Assert.NotNull(state.Cursor);
            Assert.InRange(state.Lap!.Nodes, 100, 200); // 240 seconds, of two for a node, and the page that was not done is gone through again
            Assert.Equal(began, service.Get<Retention>().DoneTo); // nothing is done, and so it is behind from when it began
        }

        await using var again = await StartAsync(Slow, 10.5);
        var runs = 1;
        for (; (await StateAsync(again)).Lap is { Began: var at }; runs++)
        {
            Assert.Equal(began, at);
            _clock.Advance(Retention.Interval - Retention.Budget);
            await RunInTimeAsync(again);
        }

        Assert.InRange(runs, 3, 5);
        var done = await StateAsync(again);
        Assert.Equal((null, began), (done.Cursor, done.DoneTo));
        for (var i = 0; i < fleet; i++)
            Assert.Equal(12, (await again.Get<IVerdictStore>().ListAsync(AgentId.Parse($"node-{i}"), null, 100, Cancel)).Items.Count);
        var told = (await again.Get<IEventStore>().ListAsync(new EventQuery(EventRecord.Service, [EventTypes.Retention]), null, 10, Cancel)).Items;
        Assert.EndsWith($": {fleet} verdicts, 0 events, 0 deliveries, 0 expired tokens.", Assert.Single(told).Detail, StringComparison.Ordinal);

        async Task RunInTimeAsync(TestService service)
        {
            var start = _clock.GetUtcNow();
            await service.Get<Retention>().ContinueAsync(Cancel);
            Assert.InRange(_clock.GetUtcNow() - start, TimeSpan.Zero, Retention.Budget + TimeSpan.FromSeconds(10));
        }
    }

    [Fact]
    public async Task A_lap_is_begun_once_an_hour_and_one_that_takes_longer_says_so()
    {
        await using var service = await StartAsync(Slow);
        using var read = new MeterReadings(service);
        var retention = service.Get<Retention>();
        await AddAsync(service.Get<INodeStore>(), service.Get<IVerdictStore>(), Id, "ppppppppppppp", null);
        Assert.Equal(double.NaN, read["keylime.retention.lag"]);
        await retention.ContinueAsync(Cancel);
        var first = (await StateAsync(service)).DoneTo;
        for (var minutes = 5; minutes < 60; minutes += 5)
        {
            _clock.Advance(Retention.Interval);
            await retention.ContinueAsync(Cancel);
        }

        Assert.Equal(first, (await StateAsync(service)).DoneTo);
        Assert.InRange(read["keylime.retention.lag"], 55 * 60, 60 * 60);
        _clock.Advance(TimeSpan.FromDays(1));
        Assert.Equal(double.NaN, read["keylime.retention.lag"]); // this process has not looked for a day
        await retention.ContinueAsync(Cancel);
        Assert.Equal(2, read["keylime.retention.lag"]); // the time of the one node
        Assert.Equal(2, (await RetentionEventsAsync(service)).Count);

        // Of a lap that somebody has begun long ago a fleet of one is the end.
        _clock.Advance(TimeSpan.FromDays(1));
        var timers = service.Get<IRecordStore<TimerState>>();
        var stored = await timers.FindAsync(Retention.Name, Cancel);
        Assert.True(await timers.TryReplaceAsync(stored!, stored!.Value with { Lap = new Lap(_clock.GetUtcNow() - TimeSpan.FromHours(30), 99_999) }, Cancel));
        await retention.ContinueAsync(Cancel);
        Assert.Equal(30 * 3600 + 2, read["keylime.retention.lag"]);
        Assert.Contains(await RetentionEventsAsync(service), static e => e.Detail.StartsWith("It took 1.06:00:02 to go over 100000 nodes, ", StringComparison.Ordinal));
    }

    [Fact]
    public async Task What_an_earlier_program_left_in_the_middle_is_begun_anew()
    {
        await using var service = await StartAsync(null);
        await AddAsync(service.Get<INodeStore>(), service.Get<IVerdictStore>(), Id, "ppppppppppppp", null);
        Assert.True(await service.Get<IRecordStore<TimerState>>().TryAddAsync(new TimerState { Name = Retention.Name, At = _clock.GetUtcNow(), Cursor = "ff|zzz" }, Cancel));
        await service.Get<Retention>().ContinueAsync(Cancel);
        Assert.Equal(12, (await service.Get<IVerdictStore>().ListAsync(Id, null, 100, Cancel)).Items.Count);
        Assert.Equal(_clock.GetUtcNow(), (await StateAsync(service)).DoneTo);
    }

    [Theory]
    [InlineData("regular", "", 1)] // up to the newest that has expired, all were deleted
    [InlineData("regular", "30", 1)] // and half a day went by since: 30 rows, in one request
    [InlineData("stopped", "", 1)] // two years ago
    [InlineData("paused", "", 6)] // away for most of its time
    [InlineData("young", "", 0)]
    [InlineData("short", "", 1)]
    public async Task A_node_costs_a_request_or_none_where_nothing_has_expired_and_one_more_to_delete(string kind, string expired, int most)
    {
        using var fuse = await AzureFuse.CreateAsync(fixture);
        await using var service = await StartAsync(fuse.Install);
        var (verdicts, now) = (service.Get<IVerdictStore>(), _clock.GetUtcNow());
        var pace = TimeSpan.FromMinutes(60);
        var (numbers, count, last) = kind switch { "stopped" => (2400, 2, now.AddDays(-700)), "young" => (200, 100, now), "short" => (12, 12, now), _ => (2400, 270, now) }; // 240 of them in ten days; what was before is deleted
        var deleted = expired.Length > 0 ? int.Parse(expired, System.Globalization.CultureInfo.InvariantCulture) : 0;
        var history = Enumerable.Range(numbers - count, count)
            .Select(number => (Number: (long)number, At: last - (numbers - 1 - number) * pace - (kind == "paused" && number < 2250 ? TimeSpan.FromDays(60) : TimeSpan.Zero)))
            .Where(h => deleted > 0 || kind == "stopped" || h.At >= now.AddDays(-10) || (kind == "paused" && h.Number == 2249)).ToList();
        foreach (var (number, at) in history)
            await verdicts.TryAddAsync(StoreContract.Verdict("node", number, "pass") is var v ? v with { Message = v.Message with { At = at } } : v, Cancel);
        await service.Get<INodeStore>().TryAddAsync(StoreContract.Sample("node") with
        {
            EnrolledAt = kind == "young" ? now.AddDays(-9) : last - numbers * pace - (kind == "paused" ? TimeSpan.FromDays(60) : TimeSpan.Zero),
            IntervalSeconds = (int)pace.TotalSeconds,
            NextAttestation = numbers,
            Last = new LastVerdict(numbers - 1, last, true, new Protocol.Api.Coverage("ek-key", "none", "ima"), ""),
        }, Cancel);

        fuse.Seen.Clear();
        await service.Get<Retention>().RunAsync(Cancel);
        var reads = fuse.Seen.Count(static r => r.StartsWith("GET ", StringComparison.Ordinal) && r.Contains("keylimeverdicts", StringComparison.Ordinal));
        Assert.InRange(reads, 0, most);
        Assert.True(kind != "regular" || reads == 1);
        Assert.Equal(deleted > 0 ? 1 : 0, fuse.Seen.Count(static r => r.Contains("$batch", StringComparison.Ordinal)));
        Assert.DoesNotContain(fuse.Seen, static r => r.StartsWith("DELETE ", StringComparison.Ordinal));
        var left = (await verdicts.ListSinceAsync(Id, 0, 1000, Cancel)).Count;
        Assert.Equal(history.Count(h => h.At >= now.AddDays(-10)) + (history.Any(h => h.At < now.AddDays(-10)) ? kind == "stopped" ? 2 : 1 : 0), left);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static async Task<TimerState> StateAsync(TestService service) => (await service.Get<IRecordStore<TimerState>>().FindAsync(Retention.Name, Cancel))!.Value;

    private static async Task<IReadOnlyList<EventRecord>> RetentionEventsAsync(TestService service) =>
        (await service.Get<IEventStore>().ListAsync(new EventQuery(EventRecord.Service, [EventTypes.Retention]), null, 10, Cancel)).Items;

    // A store that takes two seconds to list, and no timer of the service itself.
    private void Slow(IServiceCollection services)
    {
        var inner = services.Single(static s => s.ServiceType == typeof(IVerdictStore));
        services.Remove(inner);
        services.Replace(ServiceDescriptor.Singleton<ILeader, Nobody>());
        services.AddSingleton<IVerdictStore>(p => new SlowVerdicts((IVerdictStore)inner.ImplementationFactory!(p), _clock));
    }

    private sealed class Nobody : ILeader
    {
        public CancellationToken? Term => null;
    }

    private sealed class SlowVerdicts(IVerdictStore inner, FakeTimeProvider clock) : IVerdictStore
    {
        public Task<bool> TryAddAsync(VerdictRecord verdict, CancellationToken cancel) => inner.TryAddAsync(verdict, cancel);

        public Task<VerdictRecord?> FindAsync(AgentId node, long attestation, CancellationToken cancel) => inner.FindAsync(node, attestation, cancel);

        public Task<Page<VerdictRecord>> ListAsync(AgentId node, Continuation? after, int limit, CancellationToken cancel) => inner.ListAsync(node, after, limit, cancel);

        public Task<IReadOnlyList<VerdictRecord>> ListSinceAsync(AgentId node, long attestation, int limit, CancellationToken cancel) => inner.ListSinceAsync(node, attestation, limit, cancel);

        public Task<VerdictRows> ListUpToAsync(AgentId node, long attestation, int limit, CancellationToken cancel)
        {
            clock.Advance(TimeSpan.FromSeconds(2));
            return inner.ListUpToAsync(node, attestation, limit, cancel);
        }

        public Task DeleteAsync(AgentId node, IReadOnlyList<long> attestations, CancellationToken cancel) => inner.DeleteAsync(node, attestations, cancel);
    }

    private Task<TestService> StartAsync(Action<IServiceCollection>? replace, double days = 10) =>
        TestService.StartAsync(replace, _folder, _clock, configure: o => o with { KeepVerdicts = TimeSpan.FromDays(days), KeepEvents = TimeSpan.FromDays(days) });

    // A verdict a day, the newest today: p passes, f fails, e passes with evidence of this boot, o with that of another.
    private async Task AddAsync(INodeStore nodes, IVerdictStore verdicts, AgentId id, string history, long? unsettledFrom)
    {
        var now = _clock.GetUtcNow();
        foreach (var (number, kind) in history.Index())
        {
            var clock = new TpmClock(1, kind == 'o' ? 6u : 7u, 0, true);
            var verdict = StoreContract.Verdict(id.ToString(), number, kind == 'f' ? "fail" : "pass");
            Assert.True(await verdicts.TryAddAsync(verdict with
            {
                Message = verdict.Message with { At = now.AddDays(number - history.Length + 1), Clock = clock },
                Evidence = kind is 'e' or 'o'
                    ? new KeptEvidence(new byte[1], Tpm.TpmAlgorithm.Sha256, 1, Tpm.TpmAlgorithm.RsaSsa, Tpm.TpmAlgorithm.Sha256, new byte[1], new byte[1], new byte[1]) { BootLog = new string('0', 64) }
                    : null,
            }, Cancel));
        }

        var last = new LastVerdict(history.Length - 1, now, history[^1] != 'f', new Protocol.Api.Coverage("ek-key", "none", "ima"), "");
        Assert.NotNull(await nodes.TryAddAsync(StoreContract.Sample(id.ToString()) with
        {
            EnrolledAt = now.AddDays(-history.Length),
            NextAttestation = history.Length,
            Last = last,
            Clock = new TpmClock(1, 7, 0, true),
            Open = unsettledFrom is not { } from ? null : new OpenAttestation
            {
                Number = history.Length,
                UnsettledFrom = from,
                Nonce = new byte[32],
                Bank = Tpm.TpmAlgorithm.Sha256,
                PcrBits = 1,
                Scheme = Tpm.TpmAlgorithm.RsaSsa,
                SchemeHash = Tpm.TpmAlgorithm.Sha256,
                BootTime = now,
                RequestedAt = now,
                ExpiresAt = now,
            },
        }, Cancel));
    }
}
