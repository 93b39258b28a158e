using System.Text;
using Keylime.Attestation;
using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Azure;
using Keylime.Functions.Storage.Sqlite;
using Keylime.Functions.Verifier;
using Keylime.Protocol;
using Keylime.Tpm;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace Keylime.Benchmarks.Load;

/// <summary>Nodes put straight into the service's store, as they are after an attestation that passed: enrolled, with a session and a checkpoint. For fleets that nobody waits for to enrol one by one.</summary>
internal static class SeededFleet
{
    /// <summary>One for all: the service only ever compares a token with the hash in the row of the node that is asked for.</summary>
    public const string Token = "seeded.for-a-benchmark";

    // Behind each of the nodes that attest, or at the end of an hour, stand the others, of which nobody hears.
    private static readonly TimeSpan Quiet = TimeSpan.FromHours(6);

    public static string Name(int i) => $"fleet-{i}";

    /// <param name="keys">Of node i, the key i modulo their number.</param>
    /// <param name="lines">Of the list, that each has proven.</param>
    /// <param name="policy">SHA-256 of the policy's text, in hex.</param>
    public static async Task ToSqliteAsync(string path, int count, IReadOnlyList<PublicArea> keys, MeasuredList list, long lines, int intervalSeconds, string policy, CancellationToken cancel)
    {
        using var database = SqliteDatabase.Open(path);
        var nodes = new SqliteNodeStore(database, new UnreadableRows(TimeProvider.System, NullLogger<UnreadableRows>.Instance));
        var written = Math.Min(count, keys.Count);
        for (var i = 0; i < written; i++)
            await nodes.TryAddAsync(Of(i, keys[i], list, lines, intervalSeconds, policy), cancel);

        // The store writes one of each key; the others are its copies, in one transaction: so many would measure the disk.
        await database.WriteAsync(connection =>
        {
            for (var key = 0; key < written; key++)
                Copy(connection, key, written, count);
            return true;
        }, cancel);
    }

    public static async Task ToAzureAsync(
        IEnumerable<string> connections, int count, IReadOnlyList<PublicArea> keys, MeasuredList list, long lines, int intervalSeconds, string policy, CancellationToken cancel)
    {
        var accounts = AzureAccounts.Create(connections.Select(static c => AzureAccounts.FromConnectionString(c)));
        var nodes = new AzureNodeStore(accounts, new UnreadableRows(TimeProvider.System, NullLogger<UnreadableRows>.Instance));
        await Parallel.ForEachAsync(Enumerable.Range(0, count), new ParallelOptions { MaxDegreeOfParallelism = 16, CancellationToken = cancel }, async (i, token) =>
            await nodes.TryAddAsync(Of(i, keys[i % keys.Count], list, lines, intervalSeconds, policy), token));
    }

    private static void Copy(SqliteConnection connection, int key, int step, int count)
    {
        var columns = new Dictionary<string, object>();
        using (var read = connection.Command("SELECT * FROM nodes WHERE id = $id", ("$id", Name(key))))
        using (var row = read.ExecuteReader())
        {
            if (!row.Read())
                throw new BenchmarkException($"{Name(key)} was written and is not there.");
            for (var i = 0; i < row.FieldCount; i++)
                columns[row.GetName(i)] = row.GetValue(i);
        }

        var body = Encoding.UTF8.GetString((byte[])columns["body"]);
        using var insert = connection.CreateCommand();
#pragma warning disable CA2100 // the names of the table's own columns
        insert.CommandText = $"INSERT INTO nodes ({string.Join(", ", columns.Keys)}) VALUES ({string.Join(", ", columns.Keys.Select(static c => "$" + c))})";
#pragma warning restore CA2100
        foreach (var (name, value) in columns)
            insert.Parameters.AddWithValue("$" + name, value);
        for (var i = key + step; i < count; i += step)
        {
            insert.Parameters["$partition"].Value = Partitions.Of(Name(i));
            insert.Parameters["$id"].Value = Name(i);
            insert.Parameters["$body"].Value = Encoding.UTF8.GetBytes(body.Replace($"\"{Name(key)}\"", $"\"{Name(i)}\"", StringComparison.Ordinal));
            insert.ExecuteNonQuery();
        }
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
