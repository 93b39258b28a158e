using Keylime.Attestation;
using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Sqlite;
using Keylime.Protocol;
using Keylime.Protocol.Api;
using Microsoft.Extensions.Logging.Abstractions;

namespace Keylime.Functions.Tests;

/// <summary>What every store must do, whatever it is built on. A store is tested by deriving from this.</summary>
public abstract class StoreContract
{
    private static readonly DateTimeOffset Now = new(2026, 11, 24, 12, 0, 0, TimeSpan.Zero);

    private protected abstract INodeStore Nodes { get; }

    private protected abstract IRecordStore<Registration> Registrations { get; }

    private protected abstract IVerdictStore Verdicts { get; }

    private protected abstract IEventStore Events { get; }

    private protected abstract IOutbox Outbox { get; }

    private protected abstract IRecordStore<PolicyRecord> Policies { get; }

    private protected abstract IRecordStore<Webhook> Webhooks { get; }

    private protected abstract IBlobStore Blobs { get; }

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_node_is_read_as_it_was_written()
    {
        var node = Sample("a") with
        {
            Session = new NodeSession(Now, new byte[] { 1, 2 }, Now.AddMinutes(3)),
            Open = new OpenAttestation
            {
                Number = 4,
                UnsettledFrom = 3,
                Nonce = new byte[32],
                Bank = Keylime.Tpm.TpmAlgorithm.Sha256,
                PcrBits = 1024,
                Scheme = Keylime.Tpm.TpmAlgorithm.RsaSsa,
                SchemeHash = Keylime.Tpm.TpmAlgorithm.Sha256,
                Ima = new OpenImaLog(null, true) { Gzip = true },
                BootTime = Now,
                RequestedAt = Now,
                ExpiresAt = Now,
            },
            Last = new LastVerdict(3, Now, false, new Protocol.Api.Coverage("ek-key", "none", "ima"), "because"),
            Checkpoint = new NodeCheckpoint(9, Keylime.Tpm.TpmAlgorithm.Sha256, new byte[32], 2, Now, null),
            Clock = new TpmClock(1, 2, 3, true),
        };
        Assert.NotNull(await Nodes.TryAddAsync(node, Cancel));

        var read = (await Nodes.FindAsync(node.Id, Cancel))!.Value;

        Assert.Equal(node.Last, read.Last);
        Assert.Equal(node.Open.Number, read.Open!.Number);
        Assert.Equal(node.Open.Ima, read.Open.Ima);
        Assert.Equal(node.Clock, read.Clock);
        Assert.Equal(node.Session.TokenHash.ToArray(), read.Session!.TokenHash.ToArray());
        Assert.Equal(node.Checkpoint.Entries, read.Checkpoint!.Entries);
        Assert.Null(await Nodes.FindAsync(AgentId.Parse("A"), Cancel)); // ids are told apart to the letter
    }

    [Fact]
    public async Task Only_one_of_two_writers_adds_or_replaces()
    {
        Assert.NotNull(await Nodes.TryAddAsync(Sample("a"), Cancel));
        Assert.Null(await Nodes.TryAddAsync(Sample("a") with { IntervalSeconds = 7 }, Cancel));

        var first = (await Nodes.FindAsync(AgentId.Parse("a"), Cancel))!;
        var second = (await Nodes.FindAsync(AgentId.Parse("a"), Cancel))!;
        Assert.NotNull(await Nodes.TryReplaceAsync(first, first.Value with { IntervalSeconds = 11 }, Cancel));
        Assert.Null(await Nodes.TryReplaceAsync(second, second.Value with { IntervalSeconds = 12 }, Cancel));
        Assert.Equal(11, (await Nodes.FindAsync(AgentId.Parse("a"), Cancel))!.Value.IntervalSeconds);
    }

    [Fact]
    public async Task What_a_replacement_returns_can_be_replaced_again()
    {
        var stored = (await Nodes.TryAddAsync(Sample("a"), Cancel))!;
        for (var i = 1; i <= 3; i++)
            stored = (await Nodes.TryReplaceAsync(stored, stored.Value with { IntervalSeconds = i }, Cancel))!;
        Assert.Equal(3, (await Nodes.FindAsync(AgentId.Parse("a"), Cancel))!.Value.IntervalSeconds);
    }

    [Fact]
    public async Task Writers_at_once_each_win_in_turn()
    {
        await Nodes.TryAddAsync(Sample("a") with { Attestations = 0 }, Cancel);
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(async () =>
        {
            for (var done = 0; done < 10;)
            {
                var read = (await Nodes.FindAsync(AgentId.Parse("a"), Cancel))!;
                if (await Nodes.TryReplaceAsync(read, read.Value with { Attestations = read.Value.Attestations + 1 }, Cancel) is not null)
                    done++;
            }
        }, Cancel)));
        Assert.Equal(80, (await Nodes.FindAsync(AgentId.Parse("a"), Cancel))!.Value.Attestations);
    }

    [Fact]
    public async Task Pages_join_to_the_whole_and_nothing_is_there_twice()
    {
        var ids = Enumerable.Range(0, 57).Select(i => $"node-{i}").ToArray();
        foreach (var id in ids)
            await Nodes.TryAddAsync(Sample(id), Cancel);

        var seen = new List<string>();
        Continuation? after = null;
        do
        {
            var page = await Nodes.ListAsync(new NodeQuery(Moment.Of(Now)), after, 10, Cancel);
            Assert.InRange(page.Items.Count, 1, 10);
            seen.AddRange(page.Items.Select(n => n.Id.ToString()));
            Assert.True(page.Next is null || Continuation.TryParse(page.Next.ToString(), out after));
            after = page.Next;
        }
        while (after is not null);

        Assert.Equal(ids.Order(StringComparer.Ordinal), seen.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task The_filter_by_state_agrees_with_the_rules()
    {
        Node Judged(string id, bool pass, int minutesAgo)
        {
            var at = Now.AddMinutes(-minutesAgo);
            return Sample(id) with
            {
                Last = new LastVerdict(0, at, pass, new Protocol.Api.Coverage("ek-key", "none", "ima"), ""),
                LateAt = Functions.Nodes.NodeStates.LateAt(at, 60),
                SilentAt = Functions.Nodes.NodeStates.SilentAt(at, 60),
            };
        }

        Node[] nodes =
        [
            Sample("pending"), Judged("trusted", true, 1), Judged("late", true, 2), Judged("late-still", true, 4), Judged("silent", true, 5),
            Judged("failed", false, 0), Judged("failed-long-ago", false, 5000), Judged("retired", true, 1) with { RetiredAt = Now },
            Sample("retired-unseen") with { RetiredAt = Now }, Judged("unhealed", true, 1) with { Unhealed = new Unhealed(0, Now, "because", 1) },
        ];
        foreach (var node in nodes)
            await Nodes.TryAddAsync(node, Cancel);

        Moment[] moments =
        [
            Moment.Of(Now), new(Now, [new Gap(Now.AddMinutes(-3.5), Now.AddMinutes(-1), Down: true)]), new(Now, [new Gap(Now.AddHours(-1), Now, Down: true)]),
            new(Now, [new Gap(Now.AddMinutes(-3), Now.AddMinutes(-2), Down: false)]), new(Now.AddMinutes(3), [new Gap(Now.AddMinutes(-4), Now.AddMinutes(-1), Down: true)]),
            new(Now, [new Gap(Now.AddHours(-9), Now.AddHours(-8), Down: true), new Gap(Now.AddMinutes(-2.5), Now.AddMinutes(-0.5), Down: true)]),
        ];
        foreach (var moment in moments)
        {
            foreach (var state in Enum.GetValues<NodeState>())
            {
                var page = await Nodes.ListAsync(new NodeQuery(moment, state), null, 100, Cancel);
                var expected = nodes.Where(n => Functions.Nodes.NodeStates.Of(n, moment) == state).Select(n => n.Id.ToString());
                Assert.Equal(expected.Order(), page.Items.Select(n => n.Id.ToString()).Order());
            }
        }

        Assert.True(moments.Select(m => string.Join(' ', nodes.Select(n => Functions.Nodes.NodeStates.Of(n, m)))).Distinct().Count() >= 4, "The gaps make no difference.");
    }

    [Fact]
    public async Task Those_that_became_overdue_are_listed_and_no_others()
    {
        foreach (var (id, late, silent) in ((string, int, int)[])[("before", -9, -6), ("silent-since", -6, -3), ("late-since", -3, 1), ("at-the-start", -5, 5), ("just-now", 0, 9), ("to-come", 1, 9)])
        {
            Assert.NotNull(await Nodes.TryAddAsync(Sample(id) with
            {
                Last = new LastVerdict(0, Now.AddMinutes(-10), true, new Protocol.Api.Coverage("ek-key", "none", "ima"), ""),
                LateAt = Now.AddMinutes(late),
                SilentAt = Now.AddMinutes(silent),
            }, Cancel));
        }

        Assert.NotNull(await Nodes.TryAddAsync(Sample("failed") with { Last = new LastVerdict(0, Now, false, new Protocol.Api.Coverage("ek-key", "none", "ima"), ""), LateAt = Now, SilentAt = Now }, Cancel));
        var page = await Nodes.ListAsync(new NodeQuery(Moment.Of(Now), OverdueSince: Now.AddMinutes(-5)), null, 100, Cancel);
        Assert.Equal(["just-now", "late-since", "silent-since"], page.Items.Select(static n => n.Id.ToString()).Order());
        Assert.Equal(5, (await Nodes.ListAsync(new NodeQuery(Moment.Of(Now), OverdueSince: DateTimeOffset.MinValue), null, 100, Cancel)).Items.Count);
    }

    [Fact]
    public async Task What_a_fleet_is_counted_by_is_what_the_rows_say_page_by_page()
    {
        var coverage = new Protocol.Api.Coverage("ek-key", "none", "ima");
        Node[] nodes =
        [
            Sample("new"),
            Judged("trusted", true, Now.AddSeconds(-30)),
            Judged("late", true, Now.AddSeconds(-150)),
            Judged("silent", true, Now.AddSeconds(-400)),
            Judged("failed", false, Now.AddSeconds(-4000)),
            Judged("healing", true, Now.AddSeconds(-30)) with { Unhealed = new Unhealed(0, Now.AddMinutes(-1), "It failed.", 1) },
            Judged("retired", true, Now) with { RetiredAt = Now },
        ];
        foreach (var node in nodes)
            Assert.NotNull(await Nodes.TryAddAsync(node, Cancel));
        var (seen, after) = (new List<NodeTimes>(), (Continuation?)null);
        do
        {
            var page = await Nodes.ListTimesAsync(after, 2, Cancel);
            Assert.InRange(page.Items.Count, 0, 2);
            seen.AddRange(page.Items);
            after = page.Next;
        }
        while (after is not null);
        Assert.Equal(nodes.Select(NodeTimes.Of).OrderBy(static t => $"{t}"), seen.OrderBy(static t => $"{t}"));
        Assert.Equal(nodes.Select(static n => Functions.Nodes.NodeStates.Of(n, Moment.Of(Now))).Order(), seen.Select(static t => Functions.Nodes.NodeStates.Of(t, Moment.Of(Now))).Order());

        Node Judged(string id, bool pass, DateTimeOffset at) => Sample(id) with
        {
            Last = new LastVerdict(0, at, pass, coverage, ""),
            LateAt = Functions.Nodes.NodeStates.LateAt(at, 60),
            SilentAt = Functions.Nodes.NodeStates.SilentAt(at, 60),
        };
    }

    [Fact]
    public async Task A_verdict_is_added_once()
    {
        var verdict = Verdict("a", 0, "pass");
        Assert.True(await Verdicts.TryAddAsync(verdict, Cancel));
        Assert.False(await Verdicts.TryAddAsync(verdict with { Message = verdict.Message with { Evaluation = "fail" } }, Cancel));
        Assert.Equal("pass", (await Verdicts.FindAsync(AgentId.Parse("a"), 0, Cancel))!.Message.Evaluation);
        Assert.Null(await Verdicts.FindAsync(AgentId.Parse("b"), 0, Cancel));
    }

    [Fact]
    public async Task Verdicts_come_newest_first_and_of_one_node_only()
    {
        for (var i = 0; i < 12; i++)
            await Verdicts.TryAddAsync(Verdict("a", i, "pass"), Cancel);
        await Verdicts.TryAddAsync(Verdict("b", 99, "pass"), Cancel);

        var first = await Verdicts.ListAsync(AgentId.Parse("a"), null, 5, Cancel);
        Assert.Equal([11, 10, 9, 8, 7], first.Items.Select(v => v.Message.Attestation));
        var rest = await Verdicts.ListAsync(AgentId.Parse("a"), first.Next, 50, Cancel);
        Assert.Equal([6, 5, 4, 3, 2, 1, 0], rest.Items.Select(v => v.Message.Attestation));
        Assert.Null(rest.Next);
        Assert.Equal([10, 11], (await Verdicts.ListSinceAsync(AgentId.Parse("a"), 10, 50, Cancel)).Select(v => v.Message.Attestation));
    }

    [Fact]
    public async Task Verdicts_are_listed_back_from_a_number_and_deleted_by_their_numbers()
    {
        foreach (var number in (long[])[0, 1, 5, 6, 9])
            await Verdicts.TryAddAsync(Verdict("a", number, "pass"), Cancel);
        await Verdicts.TryAddAsync(Verdict("b", 5, "pass"), Cancel);
        var back = await Verdicts.ListUpToAsync(AgentId.Parse("a"), 8, 3, Cancel);
        Assert.Equal([6L, 5, 1], back.Items.Select(static v => v.Message.Attestation));
        Assert.Equal(0, back.Next);
        var end = await Verdicts.ListUpToAsync(AgentId.Parse("a"), 4, 3, Cancel);
        Assert.Equal([1L, 0], end.Items.Select(static v => v.Message.Attestation));
        Assert.Null(end.Next);
        Assert.Empty((await Verdicts.ListUpToAsync(AgentId.Parse("c"), 4, 1, Cancel)).Items);

        for (var again = 0; again < 2; again++)
            await Verdicts.DeleteAsync(AgentId.Parse("a"), [5, 0, 7], Cancel);
        Assert.Equal([9L, 6, 1], (await Verdicts.ListAsync(AgentId.Parse("a"), null, 10, Cancel)).Items.Select(static v => v.Message.Attestation));
        Assert.NotNull(await Verdicts.FindAsync(AgentId.Parse("b"), 5, Cancel));
    }

    [Fact]
    public async Task Events_that_are_older_are_deleted_of_their_subject_and_of_the_fleet_and_no_others()
    {
        for (var i = 0; i < 30; i++)
            await Events.AddAsync(EventRecord.Of(AgentId.Parse($"node-{i % 5}"), Now.AddSeconds(i), "node.failed", $"{i}", i), Cancel);
        Assert.Equal(7, await Events.DeleteBeforeAsync(Now.AddSeconds(20), 7, Cancel));
        Assert.Equal(23, (await Events.ListAsync(new EventQuery(), null, 100, Cancel)).Items.Count);
        Assert.Equal(13, await Events.DeleteBeforeAsync(Now.AddSeconds(20), 100, Cancel));
        Assert.Equal(0, await Events.DeleteBeforeAsync(Now.AddSeconds(20), 100, Cancel));
        var left = (await Events.ListAsync(new EventQuery(), null, 100, Cancel)).Items.Select(static e => e.Detail).ToArray();
        Assert.Equal(Enumerable.Range(20, 10).Reverse().Select(static i => $"{i}"), left);
        for (var node = 0; node < 5; node++)
            Assert.Equal(2, (await Events.ListAsync(new EventQuery($"node-{node}"), null, 100, Cancel)).Items.Count);
    }

    [Fact]
    public async Task An_event_told_twice_is_there_once_and_the_newest_is_first()
    {
        var old = EventRecord.Of(AgentId.Parse("a"), Now, "node.failed", "x", 3);
        await Events.AddAsync(old, Cancel);
        await Events.AddAsync(old, Cancel);
        await Events.AddAsync(EventRecord.Of(AgentId.Parse("a"), Now.AddSeconds(1), "node.recovered", "y", 4), Cancel);
        var page = await Events.ListAsync(new EventQuery("a"), null, 10, Cancel);
        Assert.Equal(["node.recovered", "node.failed"], page.Items.Select(e => e.Type));
    }

    [Fact]
    public async Task An_event_that_is_told_is_known_to_be()
    {
        var happened = EventRecord.Of(AgentId.Parse("a"), Now, "node.failed", "x", 3);
        Assert.False(await Events.IsToldAsync(happened, Cancel));
        await Events.AddAsync(happened, Cancel);
        Assert.True(await Events.IsToldAsync(happened with { Detail = "in other words" }, Cancel));
        Assert.False(await Events.IsToldAsync(EventRecord.Of(AgentId.Parse("b"), Now, "node.failed", "x", 3), Cancel));
        Assert.False(await Events.IsToldAsync(EventRecord.Of(AgentId.Parse("a"), Now, "node.failed", "x", 4), Cancel));
    }

    [Fact]
    public async Task A_delivery_waits_once_in_its_channel_and_the_oldest_is_first()
    {
        for (var i = 9; i >= 0; i--)
        {
            Assert.True(await Outbox.TryAddAsync(Waiting("c", $"n{i % 3}", i), Cancel));
            Assert.True(await Outbox.TryAddAsync(Waiting("other", $"n{i % 3}", i), Cancel));
        }

        Assert.False(await Outbox.TryAddAsync(Waiting("c", "n2", 5) with { QueuedAt = Now.AddDays(1), Attempts = 7 }, Cancel));
        var seen = new List<Delivery>();
        Continuation? after = null;
        do
        {
            var page = await Outbox.PendingAsync("c", after, 3, Cancel);
            Assert.InRange(page.Items.Count, 1, 3);
            seen.AddRange(page.Items.Select(static d => d.Value));
            after = page.Next;
        }
        while (after is not null);
        Assert.Equal(Enumerable.Range(0, 10).Select(static i => Now.AddSeconds(i)), seen.Select(static d => d.Event.At));
        Assert.All(seen, static d => Assert.Equal((0, "c"), (d.Attempts, d.Channel)));
        Assert.Empty((await Outbox.PendingAsync("nobody's", null, 10, Cancel)).Items);
        Assert.Equal(new OutboxDepth(10, Now), await Outbox.DepthAsync("c", Cancel));
        Assert.Equal(new OutboxDepth(0, null), await Outbox.DepthAsync("nobody's", Cancel));
    }

    [Fact]
    public async Task Of_two_at_one_delivery_one_gets_it_and_what_is_over_stands_in_the_ledger()
    {
        await Outbox.TryAddAsync(Waiting("c", "n", 1), Cancel);
        var first = (await Outbox.PendingAsync("c", null, 10, Cancel)).Items.Single();
        var second = (await Outbox.PendingAsync("c", null, 10, Cancel)).Items.Single();
        var claimed = await Outbox.TryReplaceAsync(first, first.Value with { Attempts = 1, DueAt = Now.AddMinutes(1) }, Cancel);
        Assert.NotNull(claimed);
        Assert.Null(await Outbox.TryReplaceAsync(second, second.Value with { Attempts = 9 }, Cancel));
        Assert.False(await Outbox.TryDropAsync(second, Cancel));
        Assert.Equal(1, (await Outbox.PendingAsync("c", null, 10, Cancel)).Items.Single().Value.Attempts);

        Assert.True(await Outbox.TrySettleAsync(claimed, claimed.Value with { State = DeliveryState.Delivered, SettledAt = Now.AddSeconds(2), Status = 204 }, Cancel));
        Assert.False(await Outbox.TrySettleAsync(claimed, claimed.Value with { State = DeliveryState.Delivered, SettledAt = Now.AddSeconds(2), Status = 204 }, Cancel));
        Assert.Empty((await Outbox.PendingAsync("c", null, 10, Cancel)).Items);
        var over = Assert.Single((await Outbox.LedgerAsync("c", null, 10, Cancel)).Items);
        Assert.Equal((204, DeliveryState.Delivered, 1), (over.Status, over.State, over.Attempts));

        await Outbox.TryAddAsync(Waiting("c", "n", 1), Cancel); // sent once more: it may wait again
        var again = (await Outbox.PendingAsync("c", null, 10, Cancel)).Items.Single();
        Assert.True(await Outbox.TrySettleAsync(again, again.Value with { State = DeliveryState.Dead, SettledAt = Now.AddSeconds(3) }, Cancel));
        Assert.Equal([DeliveryState.Dead, DeliveryState.Delivered], (await Outbox.LedgerAsync("c", null, 10, Cancel)).Items.Select(static d => d.State)); // the last first
        var page = await Outbox.LedgerAsync("c", null, 1, Cancel);
        Assert.Equal(DeliveryState.Delivered, Assert.Single((await Outbox.LedgerAsync("c", page.Next, 1, Cancel)).Items).State);

        await Outbox.TryAddAsync(Waiting("c", "n", 2), Cancel);
        Assert.True(await Outbox.TryDropAsync((await Outbox.PendingAsync("c", null, 10, Cancel)).Items.Single(), Cancel));
        Assert.Equal(2, (await Outbox.LedgerAsync("c", null, 10, Cancel)).Items.Count);

        Assert.Equal(0, await Outbox.DeleteBeforeAsync("c", Now.AddSeconds(2), 10, Cancel));
        Assert.Equal(0, await Outbox.DeleteBeforeAsync("other", Now.AddDays(1), 10, Cancel));
        Assert.Equal(1, await Outbox.DeleteBeforeAsync("c", Now.AddDays(1), 1, Cancel));
        Assert.Single((await Outbox.LedgerAsync("c", null, 10, Cancel)).Items);
        Assert.Equal(1, await Outbox.DeleteBeforeAsync("c", Now.AddDays(1), 10, Cancel));
        Assert.Empty((await Outbox.LedgerAsync("c", null, 10, Cancel)).Items);
    }

    [Fact]
    public async Task A_webhook_is_read_as_it_was_written()
    {
        var rows = System.Text.Json.Nodes.JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(AppContext.BaseDirectory, "rows", "webhooks-1.json"), Cancel))!;
        var unreadable = new UnreadableRows(TimeProvider.System, NullLogger<UnreadableRows>.Instance);
        var webhook = new RowCodec<Webhook>(StorageJson.Default.Webhook, static w => w.Schema, Webhook.CurrentSchema, unreadable).Decode("w", Bytes("webhook"));
        Assert.True(await Webhooks.TryAddAsync(webhook, Cancel));
        var read = (await Webhooks.FindAsync("siem", Cancel))!.Value;
        Assert.Equal(("siem", "0123456789abcdef0123456789abcdef", "https://siem.example.org/keylime", EventSeverity.Warning, "rack-", WebhookChange.Rotated),
            (read.Name, read.Channel, read.Message.Url.AbsoluteUri, read.Message.Severity, read.Message.Nodes, read.Change));
        Assert.Equal(["node.*", "policy.changed"], read.Message.Events);
        Assert.Equal((3, Now.AddDays(1)), (read.SealedFormerSecret.Length, read.FormerUntil));
        var delivery = new RowCodec<Delivery>(StorageJson.Default.Delivery, static d => d.Schema, Delivery.CurrentSchema, unreadable).Decode("d", Bytes("delivery"));
        Assert.Equal(("evt_ec1f91094f7e40b8db283152073d91e7", "ima.not_in_policy", 2, 503), (delivery.Event.GlobalId, delivery.Event.Finding, delivery.Attempts, delivery.Status));

        byte[] Bytes(string name) => System.Text.Encoding.UTF8.GetBytes(rows[name]!.ToJsonString());
    }

    private static Delivery Waiting(string channel, string node, int second) => new()
    {
        Channel = channel,
        Event = EventRecord.Of(AgentId.Parse(node), Now.AddSeconds(second), "node.failed", "x", second),
        QueuedAt = Now,
        DueAt = Now,
    };

    [Fact]
    public async Task Strangers_cause_one_event_a_minute()
    {
        for (var i = 0; i < 59; i++)
            await Events.AddAsync(EventRecord.OncePerMinute(AgentId.Parse("a"), Now.AddSeconds(i), "registration.identity_conflict", "x"), Cancel);
        Assert.Single((await Events.ListAsync(new EventQuery("a"), null, 10, Cancel)).Items);
    }

    [Fact]
    public async Task A_registration_is_added_replaced_and_deleted_conditionally()
    {
        var registration = Registered("a");
        Assert.True(await Registrations.TryAddAsync(registration, Cancel));
        Assert.False(await Registrations.TryAddAsync(registration, Cancel));
        var read = (await Registrations.FindAsync("a", Cancel))!;
        Assert.True(await Registrations.TryReplaceAsync(read, read.Value with { Active = true }, Cancel));
        Assert.False(await Registrations.TryReplaceAsync(read, read.Value, Cancel));
        Assert.False(await Registrations.TryDeleteAsync(read, Cancel));
        read = (await Registrations.FindAsync("a", Cancel))!;
        Assert.True(read.Value.Active);
        Assert.True(await Registrations.TryDeleteAsync(read, Cancel));
        Assert.Null(await Registrations.FindAsync("a", Cancel));
    }

    [Fact]
    public async Task A_policy_is_added_replaced_and_deleted_conditionally()
    {
        var policy = new PolicyRecord { Name = "p", Digest = "00", Size = 1, Paths = 1, Excludes = 0, Warnings = [], UpdatedAt = Now };
        Assert.True(await Policies.TryAddAsync(policy, Cancel));
        Assert.False(await Policies.TryAddAsync(policy, Cancel));
        var read = (await Policies.FindAsync("p", Cancel))!;
        Assert.True(await Policies.TryReplaceAsync(read, policy with { Digest = "01" }, Cancel));
        Assert.False(await Policies.TryDeleteAsync(read, Cancel));
        Assert.Equal("01", (await Policies.ListAsync(null, 10, Cancel)).Items.Single().Digest);
    }

    [Fact]
    public async Task A_blob_is_what_its_digest_says()
    {
        var digest = await Blobs.PutAsync(new byte[] { 1, 2, 3 }, Cancel);
        Assert.Equal(digest, await Blobs.PutAsync(new byte[] { 1, 2, 3 }, Cancel));
        Assert.Equal([1, 2, 3], (await Blobs.FindAsync(digest, Cancel))!.Value.ToArray());
        Assert.Null(await Blobs.FindAsync(new string('0', 64), Cancel));
        await Assert.ThrowsAsync<ArgumentException>(() => Blobs.FindAsync("../" + new string('0', 61), Cancel));

        for (var again = 0; again < 2; again++)
            Assert.Equal([1, 2, 3], (await Blobs.MapAsync(digest, Cancel))!.Value.ToArray());
        Assert.Null(await Blobs.MapAsync(new string('0', 64), Cancel));
        await Assert.ThrowsAsync<ArgumentException>(() => Blobs.MapAsync("../" + new string('0', 61), Cancel));
        Assert.Equal(0, (await Blobs.MapAsync(await Blobs.PutAsync(default, Cancel), Cancel))!.Value.Length);
    }

    [Fact]
    public async Task Events_of_the_whole_fleet_come_in_the_order_of_time_and_of_the_kinds_that_are_asked_for()
    {
        for (var i = 0; i < 40; i++)
            await Events.AddAsync(EventRecord.Of(AgentId.Parse($"node-{i % 7}"), Now.AddSeconds(i), i % 2 == 0 ? "node.failed" : "node.recovered", $"{i}", i), Cancel);
        await Events.AddAsync(EventRecord.Of(EventRecord.Service, Now.AddSeconds(40), "token.created", "40", "a-name"), Cancel);
        await Events.AddAsync(EventRecord.OfPolicy("p", Now.AddSeconds(41), "policy.changed", "41"), Cancel);

        Assert.Equal(Enumerable.Range(0, 42).Reverse(), await ReadAsync(new EventQuery()));
        Assert.Equal(Enumerable.Range(0, 40).Where(i => i % 2 == 0).Reverse(), await ReadAsync(new EventQuery(Types: ["node.failed"])));
        Assert.Equal([41, 40], await ReadAsync(new EventQuery(Types: ["token.created", "policy.changed"])));
        Assert.Equal([29, 28, 27, 26, 25, 24, 23, 22, 21, 20], await ReadAsync(new EventQuery(Since: Now.AddSeconds(20), Until: Now.AddSeconds(30))));
        Assert.Equal([37, 30, 23, 16, 9, 2], await ReadAsync(new EventQuery("node-2")));
        Assert.Equal([30, 16, 2], await ReadAsync(new EventQuery("node-2", Types: ["node.failed"])));
        Assert.Equal([16], await ReadAsync(new EventQuery("node-2", ["node.failed"], Now.AddSeconds(3), Now.AddSeconds(30))));

        async Task<IEnumerable<int>> ReadAsync(EventQuery query)
        {
            var seen = new List<EventRecord>();
            Continuation? after = null;
            do
            {
                var page = await Events.ListAsync(query, after, 4, Cancel);
                Assert.InRange(page.Items.Count, 0, 4);
                seen.AddRange(page.Items);
                Assert.True(page.Next is null || Continuation.TryParse(page.Next.ToString(), out after));
                after = page.Next;
            }
            while (after is not null);
            return seen.Select(e => int.Parse(e.Detail, System.Globalization.CultureInfo.InvariantCulture));
        }
    }

    [Fact]
    public async Task Records_of_many_are_all_found_and_listed_once()
    {
        var ids = Enumerable.Range(0, 43).Select(i => $"node-{i}").ToArray();
        foreach (var id in ids)
            Assert.True(await Registrations.TryAddAsync(Registered(id), Cancel));
        var keys = new List<string>();
        var values = new List<string>();
        Continuation? after = null;
        do
        {
            var page = await Registrations.ListKeysAsync(after, 10, Cancel);
            keys.AddRange(page.Items);
            after = page.Next;
        }
        while (after is not null);
        do
        {
            var page = await Registrations.ListAsync(after, 7, Cancel);
            values.AddRange(page.Items.Select(r => r.Id.ToString()));
            after = page.Next;
        }
        while (after is not null);
        Assert.Equal(ids.Order(StringComparer.Ordinal), keys.Order(StringComparer.Ordinal));
        Assert.Equal(ids.Order(StringComparer.Ordinal), values.Order(StringComparer.Ordinal));
        foreach (var id in ids)
            Assert.NotNull(await Registrations.FindAsync(id, Cancel));
    }

    [Fact]
    public async Task A_row_of_half_a_megabyte_is_read_as_it_was_written()
    {
        var findings = Enumerable.Range(0, 300).Select(i => new FindingMessage("ima.not_in_policy", new string((char)('a' + i % 26), 1000)) { Path = new string('/', 700) }).ToArray();
        var verdict = Verdict("big", 0, "fail");
        verdict = verdict with { Message = verdict.Message with { Findings = findings, FindingCount = 300 } };
        Assert.True(await Verdicts.TryAddAsync(verdict, Cancel));
        var read = (await Verdicts.FindAsync(AgentId.Parse("big"), 0, Cancel))!;
        Assert.Equal(findings.Select(f => f.Detail), read.Message.Findings.Select(f => f.Detail));
    }

    [Fact]
    public async Task Rows_of_later_kinds_are_read_and_lose_nothing()
    {
        // As the first version that had them wrote them; a test that has to change them has broken a promise.
        var rows = System.Text.Json.Nodes.JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(AppContext.BaseDirectory, "rows", "kinds-1.json"), Cancel))!;
        var node = Read(StorageJson.Default.Node, static n => n.Schema, Node.CurrentSchema, "node-4");
        Assert.Equal((4, "web", "passes:3"), (node.Schema, node.Group, node.Recovery));
        Assert.True(Read(StorageJson.Default.Node, static n => n.Schema, Node.CurrentSchema, "node-5").Open!.InAdvance);
        Assert.Equal("application/gzip", Read(StorageJson.Default.Node, static n => n.Schema, Node.CurrentSchema, "node-6").Open!.Ima!.Format);
        Assert.NotNull(Read(StorageJson.Default.TimerState, static t => t.Schema, TimerState.CurrentSchema, "timer"));
        var payload = Read(StorageJson.Default.Payload, static p => p.Schema, Payload.CurrentSchema, "payload");
        Assert.Equal(("db.key", 384, "boot runtime", 120), (payload.Name, payload.WrappedKey.Length, string.Join(' ', payload.Terms.Require), payload.Terms.MaxAgeSeconds));
        Assert.Equal("db.key~1~rows-node", Read(StorageJson.Default.PayloadShare, static s => s.Schema, PayloadShare.CurrentSchema, "share").Key);
        var release = Read(StorageJson.Default.Release, static r => r.Schema, Release.CurrentSchema, "release");
        Assert.Equal((true, "granted", Protocol.Payloads.PayloadOutcome.Written), (release.Granted, release.Code, release.Outcome));
        Assert.Equal(release.Key, Read(StorageJson.Default.PayloadClaim, static c => c.Schema, PayloadClaim.CurrentSchema, "claim").Release.Key);

        rows = System.Text.Json.Nodes.JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(AppContext.BaseDirectory, "rows", "groups-1.json"), Cancel))!;
        foreach (var (name, group) in (ReadOnlySpan<(string, string?)>)[("token-1", null), ("token-2", "web")])
            Assert.Equal(group, Read(StorageJson.Default.AccessToken, static t => t.Schema, AccessToken.CurrentSchema, name).Group);
        foreach (var (name, group) in (ReadOnlySpan<(string, string?)>)[("policy-2", null), ("policy-3", "web")])
            Assert.Equal(group, Read(StorageJson.Default.PolicyRecord, static p => p.Schema, PolicyRecord.CurrentSchema, name).Group);

        // Who does not know groups must not read a role of one as a role for all.
        var former = new RowCodec<AccessToken>(StorageJson.Default.AccessToken, static t => t.Schema, 1, new UnreadableRows(TimeProvider.System, NullLogger<UnreadableRows>.Instance));
        Assert.Throws<UnreadableRowException>(() => former.Decode("token-2", System.Text.Encoding.UTF8.GetBytes(rows["token-2"]!.ToJsonString())));

        T Read<T>(System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type, Func<T, int> schema, int newest, string name)
            where T : class
        {
            var codec = new RowCodec<T>(type, schema, newest, new UnreadableRows(TimeProvider.System, NullLogger<UnreadableRows>.Instance));
            var read = codec.Decode(name, System.Text.Encoding.UTF8.GetBytes(rows[name]!.ToJsonString()));
            var written = System.Text.Json.Nodes.JsonNode.Parse(codec.Encode(read))!.AsObject();
            foreach (var (member, value) in rows[name]!.AsObject())
                AssertKept($"{name}.{member}", value, written[member]);
            return read;
        }

        // Newer members may come, none goes.
        static void AssertKept(string where, System.Text.Json.Nodes.JsonNode? value, System.Text.Json.Nodes.JsonNode? written)
        {
            if (value is not System.Text.Json.Nodes.JsonObject members || written is not System.Text.Json.Nodes.JsonObject all)
            {
                Assert.True(System.Text.Json.Nodes.JsonNode.DeepEquals(value, written), where);
                return;
            }

            foreach (var (member, inner) in members)
                AssertKept($"{where}.{member}", inner, all[member]);
        }
    }

    [Fact]
    public async Task Rows_of_the_first_schema_are_read()
    {
        // Written by version 0.1 of this program, as they are; a test that has to change them has broken a promise.
        var rows = System.Text.Json.Nodes.JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(AppContext.BaseDirectory, "rows", "schema-1.json"), Cancel))!;
        var unreadable = new UnreadableRows(TimeProvider.System, NullLogger<UnreadableRows>.Instance);
        var node = Read(StorageJson.Default.Node, "node");
        Assert.Equal((1, "rows-node", 60, 2L), (node.Schema, node.Id.ToString(), node.IntervalSeconds, node.Attestations));
        Assert.Null(node.Waiting);
        Assert.NotNull(await Nodes.TryAddAsync(node, Cancel));
        var stored = (await Nodes.FindAsync(node.Id, Cancel))!;
        Assert.Equal((node.Last, Node.CurrentSchema), (stored.Value.Last, stored.Value.Schema)); // what is made of it says the version that it is written in
        var registration = Read(StorageJson.Default.Registration, "registration");
        Assert.True(registration is { Schema: 1, Active: true, Proposal: null, ActivatedAt: null });
        Assert.True(await Registrations.TryAddAsync(registration, Cancel));
        Assert.Equal(Keylime.Functions.Storage.Registration.CurrentSchema, (await Registrations.FindAsync("rows-node", Cancel))!.Value.Schema);
        Assert.True(await Verdicts.TryAddAsync(Read(StorageJson.Default.VerdictRecord, "verdict"), Cancel));
        await Events.AddAsync(Read(StorageJson.Default.EventRecord, "event"), Cancel);
        Assert.Equal("rows-node", (await Events.ListAsync(new EventQuery("rows-node"), null, 10, Cancel)).Items.Single().Subject);
        Assert.True(await Policies.TryAddAsync(Read(StorageJson.Default.PolicyRecord, "policy"), Cancel));

        T Read<T>(System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type, string name)
            where T : class =>
            new RowCodec<T>(type, _ => 1, 1, unreadable).Decode(name, System.Text.Encoding.UTF8.GetBytes(rows[name]!.ToJsonString()));
    }

    private static Registration Registered(string id) => new()
    {
        Id = AgentId.Parse(id),
        EndorsementKey = new byte[] { 1 },
        EndorsementKeyHash = new byte[] { 2 },
        EndorsementCertificate = default,
        Identity = IdentityLevel.EndorsementKey,
        IdentityDetail = "",
        AttestationKey = new byte[] { 3 },
        Active = false,
        ExpectedTagHash = new byte[] { 4 },
        RegisteredAt = Now,
        Registrations = 1,
    };

    internal static Node Sample(string id) => new()
    {
        Id = AgentId.Parse(id),
        EnrolledAt = Now,
        AttestationKey = new byte[] { 1 },
        AttestationKeyName = new byte[] { 2 },
        EndorsementKeyHash = new byte[] { 3 },
        Identity = IdentityLevel.EndorsementKey,
        Pcrs = new Dictionary<string, IReadOnlyList<string>>(),
        IntervalSeconds = 60,
        NextAttestation = 0,
        Attestations = 0,
    };

    internal static VerdictRecord Verdict(string node, long number, string evaluation) => new()
    {
        Node = AgentId.Parse(node),
        RequestedAt = Now,
        EvidenceReceivedAt = Now,
        CheckpointChange = CheckpointChange.Keep,
        Message = new VerdictMessage
        {
            Attestation = number,
            At = Now,
            Evaluation = evaluation,
            Coverage = new Protocol.Api.Coverage("ek-key", "none", "ima"),
            Findings = [],
            FindingCount = 0,
            AttestationKeyName = "00",
        },
    };
}

/// <summary>The contract on SQLite and files; and what only they can get wrong.</summary>
public sealed class SqliteStoreTests : StoreContract, IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("store-").FullName;
    private readonly UnreadableRows _unreadable = new(TimeProvider.System, NullLogger<UnreadableRows>.Instance);
    private readonly SqliteDatabase _database;

    public SqliteStoreTests() => _database = SqliteDatabase.Open(DatabasePath);

    private protected override INodeStore Nodes => new SqliteNodeStore(_database, _unreadable);

    private protected override IRecordStore<Registration> Registrations => new SqliteRecordStore<Registration>(_database, RecordKinds.Registrations, _unreadable);

    private protected override IVerdictStore Verdicts => new SqliteVerdictStore(_database, _unreadable);

    private protected override IEventStore Events => new SqliteEventStore(_database, _unreadable);

    private protected override IOutbox Outbox => new SqliteOutbox(_database, _unreadable);

    private protected override IRecordStore<PolicyRecord> Policies => new SqliteRecordStore<PolicyRecord>(_database, RecordKinds.Policies, _unreadable);

    private protected override IRecordStore<Webhook> Webhooks => new SqliteRecordStore<Webhook>(_database, RecordKinds.Webhooks, _unreadable);

    private protected override IBlobStore Blobs => new FileBlobStore(_folder);

    private string DatabasePath => Path.Combine(_folder, "keylime.db");

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_row_that_cannot_be_read_stops_nobody_else()
    {
        await Nodes.TryAddAsync(Sample("good"), Cancel);
        await Nodes.TryAddAsync(Sample("bad"), Cancel);
        await Nodes.TryAddAsync(Sample("newer") with { Schema = Node.CurrentSchema + 1 }, Cancel);
        await _database.WriteAsync(connection => connection.Execute("UPDATE nodes SET body = x'7b' WHERE id = 'bad'"), Cancel);

        var page = await Nodes.ListAsync(new NodeQuery(Moment.Of(DateTimeOffset.UnixEpoch)), null, 10, Cancel);
        Assert.Equal("good", page.Items.Single().Id.ToString());
        await Assert.ThrowsAsync<UnreadableRowException>(() => Nodes.FindAsync(AgentId.Parse("bad"), Cancel));
        await Assert.ThrowsAsync<UnreadableRowException>(() => Nodes.FindAsync(AgentId.Parse("newer"), Cancel));

        // and each is an event, once, however often it was met
        await _unreadable.TellAsync(Events, Cancel);
        await Nodes.ListAsync(new NodeQuery(Moment.Of(DateTimeOffset.UnixEpoch)), null, 10, Cancel);
        await _unreadable.TellAsync(Events, Cancel);
        var told = (await Events.ListAsync(new EventQuery(EventRecord.Service), null, 10, Cancel)).Items;
        Assert.Equal(["bad", "newer"], told.Select(e => e.Detail.Split('\'')[1]).Order());
        Assert.All(told, e => Assert.Equal(EventTypes.RowUnreadable, e.Type));
    }

    [Fact]
    public async Task What_was_written_is_there_after_a_start_from_the_file()
    {
        await Nodes.TryAddAsync(Sample("a"), Cancel);
        using var again = SqliteDatabase.Open(DatabasePath); // beside the first: WAL
        var nodes = new SqliteNodeStore(again, _unreadable);
        Assert.NotNull(await nodes.FindAsync(AgentId.Parse("a"), Cancel));
    }

    [Fact]
    public async Task A_database_of_a_newer_program_is_refused()
    {
        await _database.WriteAsync(connection => connection.Execute("PRAGMA user_version = 99"), Cancel);
        var refused = Assert.Throws<StorageUnavailableException>(() => SqliteDatabase.Open(DatabasePath));
        Assert.Contains("newer", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_damaged_blob_is_no_blob()
    {
        var digest = await Blobs.PutAsync(new byte[] { 1, 2, 3 }, Cancel);
        await File.WriteAllBytesAsync(Path.Combine(_folder, digest), [1, 2, 4], Cancel);
        Assert.Null(await Blobs.FindAsync(digest, Cancel));
        Assert.Null(await Blobs.MapAsync(digest, Cancel));
        await Blobs.PutAsync(new byte[] { 1, 2, 3 }, Cancel); // heals it
        Assert.Equal([1, 2, 3], (await Blobs.FindAsync(digest, Cancel))!.Value.ToArray());
    }

    [Fact]
    public async Task What_is_mapped_stays_when_its_file_goes_and_when_memory_is_collected()
    {
        var content = Enumerable.Range(0, 100_000).Select(i => (byte)(i / 7 % 251)).ToArray();
        var digest = await Blobs.PutAsync(content, Cancel);
        var mapped = (await Blobs.MapAsync(digest, Cancel))!.Value;
        File.Delete(Path.Combine(_folder, digest));
        for (var i = 0; i < 3; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }

        Assert.True(mapped.Span.SequenceEqual(content));
        GC.KeepAlive(mapped);
    }

    public void Dispose()
    {
        _database.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
