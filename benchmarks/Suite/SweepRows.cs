using System.Text;
using Keylime.Benchmarks.Load;
using Keylime.Benchmarks.Processes;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Azure;
using Keylime.Functions.Storage.Sqlite;
using Keylime.Functions.Telemetry;
using Keylime.Functions.Verifier;
using Keylime.Protocol;
using Keylime.Testing;
using Keylime.Tpm;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;

namespace Keylime.Benchmarks.Suite;

/// <summary>What goes over a whole fleet: the sweep, lists by state, retention.</summary>
internal static class SweepRows
{
    private const int Nodes = 100_000;
    private const int OnAzurite = 2000; // so many are put there in some seconds

    public static async Task<IReadOnlyList<Row>> MeasureAsync(CancellationToken cancel)
    {
        var (sweeps, lists) = await FleetSweep.MeasureAsync(Nodes);
        var rows = new List<Row>
        {
            new("sweep of 100,000 nodes on SQLite, the longest", "s", [sweeps.Max(static s => s.Seconds)], MoreIsBetter: false)
            { Budget = 10, Note = string.Join("; ", sweeps.Select(static s => $"{s.What}: {Row.Say(s.Seconds)} s, {s.Told:N0} events")) },
        };
        rows.AddRange(lists.Select(static l => new Row($"list of {l.State.ToString().ToLowerInvariant()} nodes, all pages, of 100,000", "s", [l.Seconds], MoreIsBetter: false) { Note = $"{l.Nodes:N0} nodes, SQLite" }));
        rows.Add(await OnAzureAsync(cancel));
        rows.Add(await RetentionAsync(cancel));
        return rows;
    }

    private static async Task<Row> OnAzureAsync(CancellationToken cancel)
    {
        await using var azurite = await Azurite.StartAsync(Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "..", "tests", "azurite")), cancel);
        var direct = azurite.NewAccounts(1);
        var endpoint = new Uri(direct[0].Split(';').Single(static p => p.StartsWith("TableEndpoint=", StringComparison.Ordinal))["TableEndpoint=".Length..]);
        await using var counter = await RequestCounter.StartAsync(endpoint, cancel);
        var counted = direct[0].Replace(endpoint.GetLeftPart(UriPartial.Authority), counter.Url.GetLeftPart(UriPartial.Authority), StringComparison.Ordinal);
        var accounts = AzureAccounts.Create([AzureAccounts.FromConnectionString(counted)]);
        await accounts.PrepareAsync(StoreServices.Kinds, cancel);
        using var tpm = new SoftwareTpm(TpmAlgorithm.Ecdsa);
        await SeededFleet.ToAzureAsync(direct, OnAzurite, [tpm.AttestationKey], new MeasuredList(1), 1, 60, new string('0', 64), cancel);

        var clock = TimeProvider.System;
        var unreadable = new UnreadableRows(clock, NullLogger<UnreadableRows>.Instance);
        var timers = new AzureRecordStore<TimerState>(accounts, RecordKinds.Timers, unreadable);
        var options = new ServiceOptions();
        var (nodes, events, heartbeat) = (new AzureNodeStore(accounts, unreadable), new AzureEventStore(accounts, unreadable), new Heartbeat(timers, clock, options));
        var settlement = new Settlement(nodes, new AzureVerdictStore(accounts, unreadable), events, heartbeat);
        var fleet = new FleetCount(nodes, new AzureOutbox(accounts, unreadable), new AzureRecordStore<Webhook>(accounts, RecordKinds.Webhooks, unreadable), timers, heartbeat, clock);
        using var sweep = new Sweep(nodes, events, settlement, unreadable, heartbeat, fleet, new OnlyLeader(), clock, options, NullLogger<Sweep>.Instance);
        await sweep.RunAsync(cancel);
        var before = counter.Counts;
        await sweep.RunAsync(cancel);
        var asked = RequestCounter.Since(before, counter.Counts);
        return new Row("sweep, requests to Azure Storage where nobody is overdue", "", [asked.Values.Sum()], MoreIsBetter: false)
        { Budget = 300, Note = $"counted on an emulator with {OnAzurite:N0} nodes; one more for each 1,000 nodes that are overdue. Azure itself may answer a scan of a large table in more pages: {string.Join(", ", asked.Select(static a => $"{a.Value} {a.Key}"))}" };
    }

    // A hundred nodes with a hundred old verdicts each: what one run deletes at most.
    private static async Task<Row> RetentionAsync(CancellationToken cancel)
    {
        const int nodes = 100;
        const int verdicts = 102; // of each, the newest of its kind stays, and the one that its row knows of
        var folder = Directory.CreateTempSubdirectory("retention-").FullName;
        try
        {
            await using var service = Service.Build(new ServiceOptions { Data = folder, KeepVerdicts = TimeSpan.FromDays(1) });
            using var tpm = new SoftwareTpm(TpmAlgorithm.Ecdsa);
            await SeededFleet.ToSqliteAsync(Path.Combine(folder, "keylime.db"), nodes, [tpm.AttestationKey], new MeasuredList(1), 1, 60, new string('0', 64), cancel);
            var store = service.Services.GetRequiredService<IVerdictStore>();
            var database = service.Services.GetRequiredService<SqliteDatabase>();
            var old = TimeProvider.System.GetUtcNow().AddDays(-30);
            var at0 = new VerdictRecord
            {
                Node = AgentId.Parse(SeededFleet.Name(0)),
                RequestedAt = old,
                EvidenceReceivedAt = old,
                CheckpointChange = CheckpointChange.Keep,
                Message = new Protocol.Api.VerdictMessage { Attestation = 0, At = old, Evaluation = "pass", Coverage = new("ek-key", "none", "ima"), Findings = [], FindingCount = 0, AttestationKeyName = new string('0', 68) },
            };
            await store.TryAddAsync(at0, cancel);
            await database.WriteAsync(connection =>
            {
                using var read = connection.Command("SELECT body FROM verdicts");
                var body = Encoding.UTF8.GetString((byte[])read.ExecuteScalar()!);
                connection.Execute("BEGIN IMMEDIATE");
                for (var node = 0; node < nodes; node++)
                {
                    connection.Execute("UPDATE nodes SET body = CAST(replace(CAST(body AS TEXT), '\"nextAttestation\":1,', $next) AS BLOB) WHERE id = $id", ("$next", $"\"nextAttestation\":{verdicts},"), ("$id", SeededFleet.Name(node)));
                    for (var number = node == 0 ? 1 : 0; number < verdicts; number++)
                    {
                        var text = body.Replace($"\"{SeededFleet.Name(0)}\"", $"\"{SeededFleet.Name(node)}\"", StringComparison.Ordinal).Replace("\"attestation\":0", $"\"attestation\":{number}", StringComparison.Ordinal);
                        connection.Execute("INSERT INTO verdicts (node, attestation, body) VALUES ($node, $number, $body)", ("$node", SeededFleet.Name(node)), ("$number", number), ("$body", Encoding.UTF8.GetBytes(text)));
                    }
                }

                connection.Execute("COMMIT");
                return true;
            }, cancel);

            var before = await CountAsync();
            var clock = TimeProvider.System;
            var start = clock.GetTimestamp();
            await service.Services.GetRequiredService<Retention>().RunAsync(cancel);
            var seconds = clock.GetElapsedTime(start).TotalSeconds;
            var deleted = before - await CountAsync();
            return deleted == 0
                ? throw new BenchmarkException("Retention deleted nothing.")
                : new Row("retention, verdicts deleted", "/s", [deleted / seconds], MoreIsBetter: true) { Note = $"{deleted:N0} in one run, SQLite" };

            Task<long> CountAsync() => database.ReadAsync(static c => (long)c.Command("SELECT count(*) FROM verdicts").ExecuteScalar()!, cancel);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
