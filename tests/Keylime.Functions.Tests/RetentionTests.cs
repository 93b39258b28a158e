using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol;
using Keylime.Protocol.Api;
using Microsoft.Extensions.DependencyInjection;
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
    public async Task A_fleet_of_more_than_one_run_is_gone_through_by_several_also_after_a_restart()
    {
        const int fleet = 1100;
        await using (var service = await StartAsync(null))
        {
            for (var i = 0; i < fleet; i++)
                await AddAsync(service.Get<INodeStore>(), service.Get<IVerdictStore>(), AgentId.Parse($"node-{i}"), i % 100 == 0 ? "ppppppppppppp" : "p", null);
            await service.Get<Retention>().RunAsync(Cancel);
            Assert.NotNull((await service.Get<IRecordStore<TimerState>>().FindAsync("retention", Cancel))!.Value.Cursor);
        }

        await using var again = await StartAsync(null);
        await again.Get<Retention>().RunAsync(Cancel);
        Assert.Null((await again.Get<IRecordStore<TimerState>>().FindAsync("retention", Cancel))!.Value.Cursor);
        for (var i = 0; i < fleet; i += 100)
            Assert.Equal(12, (await again.Get<IVerdictStore>().ListAsync(AgentId.Parse($"node-{i}"), null, 100, Cancel)).Items.Count);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private Task<TestService> StartAsync(Action<IServiceCollection>? replace) =>
        TestService.StartAsync(replace, _folder, _clock, configure: static o => o with { KeepVerdicts = TimeSpan.FromDays(10), KeepEvents = TimeSpan.FromDays(10) });

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
