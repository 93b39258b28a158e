using Azure.Data.Tables;
using Keylime.Attestation;
using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Azure;
using Keylime.Functions.Storage.Sqlite;
using Keylime.Functions.Verifier;
using Keylime.Protocol;
using Keylime.Tpm;
using Microsoft.Extensions.Logging.Abstractions;

namespace Keylime.Benchmarks.Load;

/// <summary>Nodes put straight into the service's store, as they are after an attestation that passed: enrolled, with a session and a checkpoint. For fleets that nobody waits for to enrol one by one.</summary>
internal static class SeededFleet
{
    /// <summary>One for all: the service only ever compares a token with the hash in the row of the node that is asked for.</summary>
    public const string Token = "seeded.for-a-benchmark";

    private const int RowsAtOnce = 10_000; // in a transaction: one each would measure the disk

    private static readonly UnreadableRows Unreadable = new(TimeProvider.System, NullLogger<UnreadableRows>.Instance);

    // Behind each of the nodes that attest, or at the end of an hour, stand the others, of which nobody hears.
    private static readonly TimeSpan Quiet = TimeSpan.FromHours(6);

    public static string Name(int i) => $"fleet-{i}";

    /// <summary>The nodes.</summary>
    /// <param name="keys">Of node i, the key i modulo their number.</param>
    /// <param name="lines">Of the list, that each has proven.</param>
    /// <param name="policy">SHA-256 of the policy's text, in hex.</param>
    public static IEnumerable<Node> Of(int count, IReadOnlyList<PublicArea> keys, MeasuredList list, long lines, int intervalSeconds, string policy)
    {
        var some = keys.Take(count).Select((key, i) => Of(i, key, list, lines, intervalSeconds, policy)).ToList(); // names and digests of a key are worth keeping
        return Enumerable.Range(0, count).Select(i => some[i % some.Count] with { Id = AgentId.Parse(Name(i)) });
    }

    public static async Task ToSqliteAsync(string path, IEnumerable<Node> nodes, IEnumerable<VerdictRecord> verdicts, CancellationToken cancel)
    {
        using var database = SqliteDatabase.Open(path);
        var (nodeStore, verdictStore) = (new SqliteNodeStore(database, Unreadable), new SqliteVerdictStore(database, Unreadable));
        foreach (var some in nodes.Chunk(RowsAtOnce))
            await database.WriteAsync(connection => some.All(node => nodeStore.Insert(connection, node, SqliteCommands.NewETag())), cancel);
        foreach (var some in verdicts.Chunk(RowsAtOnce))
            await database.WriteAsync(connection => some.All(verdict => verdictStore.Insert(connection, verdict)), cancel);
    }

    /// <summary>Rows of one partition go in batches.</summary>
    public static async Task ToAzureAsync(IEnumerable<string> connections, IEnumerable<Node> nodes, IEnumerable<VerdictRecord> verdicts, CancellationToken cancel)
    {
        var accounts = AzureAccounts.Create(connections.Select(static c => AzureAccounts.FromConnectionString(c)));
        var (nodeStore, verdictStore) = (new AzureNodeStore(accounts, Unreadable), new AzureVerdictStore(accounts, Unreadable));
        // Encoded as they go: a hundred thousand rows at once would be half a gigabyte.
        await PutAsync(nodes.GroupBy(static node => Partitions.Of(node.Id.ToString())).SelectMany(static g => g.Chunk(AzureTable.MaxBatch)), AzureAccounts.Nodes, node => (node.Id, nodeStore.Entity(node)));
        await PutAsync(verdicts.GroupBy(static verdict => verdict.Node).SelectMany(static g => g.Chunk(AzureTable.MaxBatch)), AzureAccounts.Verdicts, verdict => (verdict.Node, verdictStore.Entity(verdict)));

        Task PutAsync<T>(IEnumerable<T[]> batches, string table, Func<T, (AgentId Id, TableEntity Row)> entity) =>
            Parallel.ForEachAsync(batches, new ParallelOptions { MaxDegreeOfParallelism = 8, CancellationToken = cancel }, async (batch, token) =>
            {
                foreach (var rows in batch.Select(entity).GroupBy(row => accounts.For(row.Id.ToString())))
                    await rows.Key.Tables.GetTableClient(table).SubmitTransactionAsync(rows.Select(static row => new TableTransactionAction(TableTransactionActionType.Add, row.Row)), token);
            });
    }

    private static Node Of(int i, PublicArea key, MeasuredList list, long lines, int intervalSeconds, string policy)
    {
        var now = TimeProvider.System.GetUtcNow();
        var last = now.AddSeconds(-intervalSeconds);
        var bootTime = new DateTimeOffset(2026, 11, 23, 8, 0, 0, TimeSpan.Zero);
        return new Node
        {
            Id = AgentId.Parse(Name(i)),
            EnrolledAt = last,
            AttestationKey = key.Encode(),
            AttestationKeyName = key.ComputeName(),
            EndorsementKeyHash = new byte[32],
            Identity = IdentityLevel.EndorsementKey,
            RuntimePolicy = MeasuredList.PolicyName,
            Pcrs = new Dictionary<string, IReadOnlyList<string>>(),
            IntervalSeconds = intervalSeconds,
            NextAttestation = 1,
            Attestations = 1,
            Session = new NodeSession(last, SessionTokens.Hash(Token), now + Quiet),
            Last = new LastVerdict(0, last, true, new Protocol.Api.Coverage("ek-key", "none", "ima"), "Nothing speaks against it."),
            LastPassAt = last,
            Checkpoint = new NodeCheckpoint(lines, TpmAlgorithm.Sha256, list.ValueAfter(lines), 1, bootTime, policy),
            Clock = new Protocol.Api.TpmClock(1000, 1, 0, true),
            LateAt = now + Quiet,
            SilentAt = now + 2 * Quiet,
        };
    }
}
