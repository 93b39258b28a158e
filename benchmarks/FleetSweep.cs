using System.Globalization;
using Keylime.Attestation;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Sqlite;
using Keylime.Functions.Telemetry;
using Keylime.Functions.Verifier;
using Keylime.Protocol;
using Keylime.Protocol.Api;
using Microsoft.Extensions.Logging.Abstractions;

namespace Keylime.Benchmarks;

/// <summary>A sweep of a large fleet on SQLite: where nobody is overdue, and where some became so.</summary>
internal static class FleetSweep
{
    private const int PageSize = 1000; // the sweep's

    public const string Usage = """
        usage: benchmarks/sweep [--nodes N] [--azurite]

          --nodes N      nodes in the store (default 100,000)
          --azurite      on an emulator of Azure Storage, with its requests counted; SQLite otherwise
        """;

    public static async Task<int> CommandAsync(string[] args)
    {
        if (args is ["--help" or "-h"])
        {
            Console.WriteLine(Usage);
            return 0;
        }

        var given = new Arguments(args, ["--nodes"], ["--azurite"]);
        var (count, onAzurite) = (given.Number("--nodes", 100_000, 100, 10_000_000), given.Has("--azurite"));
        if (!onAzurite)
            await RunAsync(count);
        await FleetLists.RunAsync(count, onAzurite);
        return 0;
    }

    private static async Task RunAsync(int count)
    {
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{count:N0} nodes on SQLite, pages of {PageSize:N0}"));
        foreach (var (what, seconds, told) in await MeasureAsync(count))
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{what,-48}{seconds,8:F2} s   {told:N0} events"));
    }

    /// <returns>The sweeps, with their seconds and what they told.</returns>
    public static async Task<IReadOnlyList<(string What, double Seconds, int Told)>> MeasureAsync(int count)
    {
        var sweeps = new List<(string, double, int)>();
        var folder = Directory.CreateTempSubdirectory("sweep-").FullName;
        try
        {
            using var database = SqliteDatabase.Open(Path.Combine(folder, "keylime.db"));
            var clock = TimeProvider.System;
            var unreadable = new UnreadableRows(clock, NullLogger<UnreadableRows>.Instance);
            var (nodes, events) = (new SqliteNodeStore(database, unreadable), new SqliteEventStore(database, unreadable));
            var timers = new SqliteRecordStore<TimerState>(database, RecordKinds.Timers, unreadable);
            var (outbox, webhooks) = (new SqliteOutbox(database, unreadable), new SqliteRecordStore<Webhook>(database, RecordKinds.Webhooks, unreadable));
            var now = clock.GetUtcNow();
            await FillAsync(database, nodes, now, count);
            await MeasureAsync("the first sweep there is; nobody is overdue", 0);
            await MeasureAsync("nobody became overdue", 0);
            var some = count / 100;
            await database.WriteAsync(c => c.Execute(
                "UPDATE nodes SET late_at = $late, silent_at = $silent, body = CAST(replace(replace(CAST(body AS TEXT), $old_late, $new_late), $old_silent, $new_silent) AS BLOB) WHERE CAST(substr(id, 6) AS INTEGER) < $some",
                ("$late", now.AddSeconds(-2).UtcTicks), ("$silent", now.AddSeconds(-1).UtcTicks), ("$some", some),
                ("$old_late", Json(LateOf(now))), ("$new_late", Json(now.AddSeconds(-2))), ("$old_silent", Json(SilentOf(now))), ("$new_silent", Json(now.AddSeconds(-1)))), CancellationToken.None);
            await MeasureAsync("one in a hundred became late and silent", 2 * some);
            return sweeps;

            async Task MeasureAsync(string what, int told)
            {
                var before = await CountAsync(database);
                var heartbeat = new Heartbeat(timers, clock, new ServiceOptions());
                var fleet = new FleetCount(nodes, outbox, webhooks, timers, heartbeat, clock);
                var settlement = new Settlement(nodes, new SqliteVerdictStore(database, unreadable), events, heartbeat);
                using var sweep = new Sweep(nodes, events, settlement, unreadable, heartbeat, fleet, new OnlyLeader(), clock, new ServiceOptions(), NullLogger<Sweep>.Instance);
                var start = clock.GetTimestamp();
                await sweep.RunAsync(CancellationToken.None);
                var seconds = clock.GetElapsedTime(start).TotalSeconds;
                if (await CountAsync(database) - before != told)
                    throw new InvalidOperationException($"The sweep told {await CountAsync(database) - before} events, and {told} are true.");
                sweeps.Add((what, seconds, told));
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static DateTimeOffset LateOf(DateTimeOffset now) => now.AddHours(2);

    private static DateTimeOffset SilentOf(DateTimeOffset now) => now.AddHours(5);

    // One node is written by the store, the others are its copies: a hundred thousand transactions would measure the disk.
    private static async Task FillAsync(SqliteDatabase database, SqliteNodeStore nodes, DateTimeOffset now, int count)
    {
        await nodes.TryAddAsync(new Node
        {
            Id = AgentId.Parse("node-0"),
            EnrolledAt = now,
            AttestationKey = new byte[280],
            AttestationKeyName = new byte[34],
            EndorsementKeyHash = new byte[32],
            Identity = IdentityLevel.EndorsementCertificate,
            RuntimePolicy = "base",
            Pcrs = new Dictionary<string, IReadOnlyList<string>>(),
            IntervalSeconds = 3600,
            NextAttestation = 1,
            Attestations = 1,
            Last = new LastVerdict(0, now, true, new Protocol.Api.Coverage("ek-certificate", "none", "ima"), "Nothing speaks against it."),
            LateAt = LateOf(now),
            SilentAt = SilentOf(now),
        }, CancellationToken.None);
        await database.WriteAsync(c => c.Execute("""
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $count)
            INSERT INTO nodes (partition, id, etag, verdict, late_at, silent_at, retired, open, policy, boot_policy, body)
            SELECT printf('%02x', i % 256), 'node-' || i, etag, verdict, late_at, silent_at, retired, open, policy, boot_policy,
                CAST(replace(CAST(body AS TEXT), '"node-0"', '"node-' || i || '"') AS BLOB)
            FROM n, nodes WHERE id = 'node-0'
            """, ("$count", count)), CancellationToken.None);
        if ((await nodes.ListAsync(new NodeQuery(Moment.Of(now), NodeState.Trusted), null, count, CancellationToken.None)).Items.Count != count)
            throw new InvalidOperationException("The fleet is not what it should be.");
    }

    private static string Json(DateTimeOffset time) => System.Text.Json.JsonSerializer.Serialize(time, StorageJson.Default.DateTimeOffset);

    private static Task<long> CountAsync(SqliteDatabase database) =>
        database.ReadAsync(static c => (long)c.Command("SELECT count(*) FROM events").ExecuteScalar()!, CancellationToken.None);
}
