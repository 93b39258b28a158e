using Keylime.Attestation;
using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Sqlite;
using Keylime.Protocol;
using Keylime.Protocol.Api;
using Microsoft.Extensions.Logging.Abstractions;

namespace Keylime.Functions.Tests;

/// <summary>What every store must do, whatever it is built on. A store is tested by deriving from this.</summary>
public abstract class StoreContract : IDisposable
{
    private static readonly DateTimeOffset Now = new(2026, 11, 24, 12, 0, 0, TimeSpan.Zero);

    private protected abstract INodeStore Nodes { get; }

    private protected abstract IRegistrationStore Registrations { get; }

    private protected abstract IVerdictStore Verdicts { get; }

    private protected abstract IEventStore Events { get; }

    private protected abstract IPolicyStore Policies { get; }

    private protected abstract IBlobStore Blobs { get; }

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

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
                Ima = new OpenImaLog(null, true),
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
            var page = await Nodes.ListAsync(new NodeQuery(Now), after, 10, Cancel);
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
            Sample("retired-unseen") with { RetiredAt = Now },
        ];
        foreach (var node in nodes)
            await Nodes.TryAddAsync(node, Cancel);

        foreach (var state in Enum.GetValues<NodeState>())
        {
            var page = await Nodes.ListAsync(new NodeQuery(Now, state), null, 100, Cancel);
            var expected = nodes.Where(n => Functions.Nodes.NodeStates.Of(n, Now) == state).Select(n => n.Id.ToString());
            Assert.Equal(expected.Order(), page.Items.Select(n => n.Id.ToString()).Order());
        }
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
    public async Task An_event_told_twice_is_there_once_and_the_newest_is_first()
    {
        var old = NodeEvent.Of(AgentId.Parse("a"), Now, "node.failed", "x", 3);
        await Events.AddAsync(old, Cancel);
        await Events.AddAsync(old, Cancel);
        await Events.AddAsync(NodeEvent.Of(AgentId.Parse("a"), Now.AddSeconds(1), "node.recovered", "y", 4), Cancel);
        var page = await Events.ListAsync(AgentId.Parse("a"), null, 10, Cancel);
        Assert.Equal(["node.recovered", "node.failed"], page.Items.Select(e => e.Type));
    }

    [Fact]
    public async Task Strangers_cause_one_event_a_minute()
    {
        for (var i = 0; i < 59; i++)
            await Events.AddAsync(NodeEvent.OncePerMinute(AgentId.Parse("a"), Now.AddSeconds(i), "registration.identity_conflict", "x"), Cancel);
        Assert.Single((await Events.ListAsync(AgentId.Parse("a"), null, 10, Cancel)).Items);
    }

    [Fact]
    public async Task A_registration_is_added_replaced_and_deleted_conditionally()
    {
        var registration = new Registration
        {
            Id = AgentId.Parse("a"),
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
        Assert.True(await Registrations.TryAddAsync(registration, Cancel));
        Assert.False(await Registrations.TryAddAsync(registration, Cancel));
        var read = (await Registrations.FindAsync(registration.Id, Cancel))!;
        Assert.True(await Registrations.TryReplaceAsync(read, read.Value with { Active = true }, Cancel));
        Assert.False(await Registrations.TryReplaceAsync(read, read.Value, Cancel));
        Assert.False(await Registrations.TryDeleteAsync(read, Cancel));
        read = (await Registrations.FindAsync(registration.Id, Cancel))!;
        Assert.True(read.Value.Active);
        Assert.True(await Registrations.TryDeleteAsync(read, Cancel));
        Assert.Null(await Registrations.FindAsync(registration.Id, Cancel));
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
    }

    protected abstract void Dispose(bool disposing);

    private protected static Node Sample(string id) => new()
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

    private static VerdictRecord Verdict(string node, long number, string evaluation) => new()
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
public sealed class SqliteStoreTests : StoreContract
{
    private readonly string _folder = Directory.CreateTempSubdirectory("store-").FullName;
    private readonly SqliteDatabase _database;

    public SqliteStoreTests() => _database = SqliteDatabase.Open(DatabasePath);

    private protected override INodeStore Nodes => new SqliteNodeStore(_database, NullLogger<SqliteNodeStore>.Instance);

    private protected override IRegistrationStore Registrations => new SqliteRegistrationStore(_database, NullLogger<SqliteRegistrationStore>.Instance);

    private protected override IVerdictStore Verdicts => new SqliteVerdictStore(_database, NullLogger<SqliteVerdictStore>.Instance);

    private protected override IEventStore Events => new SqliteEventStore(_database, NullLogger<SqliteEventStore>.Instance);

    private protected override IPolicyStore Policies => new SqlitePolicyStore(_database, NullLogger<SqlitePolicyStore>.Instance);

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

        var page = await Nodes.ListAsync(new NodeQuery(DateTimeOffset.UnixEpoch), null, 10, Cancel);
        Assert.Equal("good", page.Items.Single().Id.ToString());
        await Assert.ThrowsAsync<StorageUnavailableException>(() => Nodes.FindAsync(AgentId.Parse("bad"), Cancel));
        await Assert.ThrowsAsync<StorageUnavailableException>(() => Nodes.FindAsync(AgentId.Parse("newer"), Cancel));
    }

    [Fact]
    public async Task What_was_written_is_there_after_a_start_from_the_file()
    {
        await Nodes.TryAddAsync(Sample("a"), Cancel);
        using var again = SqliteDatabase.Open(DatabasePath); // beside the first: WAL
        var nodes = new SqliteNodeStore(again, NullLogger<SqliteNodeStore>.Instance);
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
    }

    protected override void Dispose(bool disposing)
    {
        _database.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
