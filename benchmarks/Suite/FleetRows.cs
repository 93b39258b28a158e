using Keylime.Benchmarks.Load;
using Keylime.Tpm;

namespace Keylime.Benchmarks.Suite;

/// <summary>What an attestation costs the service, and whether a large fleet makes it cost more.</summary>
internal static class FleetRows
{
    private const double Least = 1000; // attestations a second, of one core
    private const double LeastAmongMany = 0.9;
    private const int Rounds = 3;
    private const int Fleet = 100_000;

    private static readonly TimeSpan Window = TimeSpan.FromSeconds(8);

    // More than was promised, so that the rate shows it too; each machine comes as often as the service takes it.
    private static readonly FleetOptions Steady = new() { Nodes = 1200, Interval = 1, Seed = true, OneTrip = true, Core = 0, Length = Window };

    public static async Task<IReadOnlyList<Row>> MeasureAsync(CancellationToken cancel) =>
        [.. await FleetRun.WithRigAsync(Steady, rig => SteadyAsync(rig, cancel), cancel), await AmongManyAsync(cancel), await OnAzureAsync(cancel)];

    private static async Task<List<Row>> SteadyAsync(LoadRig rig, CancellationToken cancel)
    {
        // As a process begins: most of what it runs is compiled while it runs.
        var cold = await rig.MeasureAsync(Steady with { Nodes = 300, Warm = TimeSpan.Zero }, cancel);
        await rig.WarmAsync(cancel);
        var runs = new List<FleetFigures>();
        for (var round = 0; round < Rounds; round++)
            runs.Add(await rig.MeasureAsync(Steady, cancel));
        var rows = new List<Row>
        {
            new("attestations, steady state, RSA 2048, SQLite, one core", "/s", [.. runs.Select(static f => f.PerSecond)], MoreIsBetter: true)
            { Budget = Least, Note = $"in one request each; {Steady.PerSecond:N0} a second were due, of {Steady.Nodes:N0} nodes" },
            new("attestations, steady state, for the service's processor time", "/CPU s", Rates(runs), MoreIsBetter: true)
            { Budget = Least, Note = $"the service has run for a minute: {Row.Say(Row.MedianOf([.. runs.Select(static f => f.CpuMilliseconds!.Value)]))} ms for one" },
            new("attestations, in the first seconds of a process", "/CPU s", Rates([cold]), MoreIsBetter: true) { Note = $"{cold.Options.PerSecond:N0} a second for {cold.Loop.Length.TotalSeconds:N0} s: the runtime still compiles" },
            new("attestation, due to verdict, median", "ms", [.. runs.Select(static f => f.Loop.Percentile(0.5))], MoreIsBetter: false) { Note = "at that pace" },
            new("attestation, due to verdict, 99 %", "ms", [.. runs.Select(static f => f.Loop.Percentile(0.99))], MoreIsBetter: false),
            new("attestation, due to verdict, 99.9 %", "ms", [.. runs.Select(static f => f.Loop.Percentile(0.999))], MoreIsBetter: false),
            new("attestation, to the service", "B", [.. runs.Select(static f => f.BytesSent)], MoreIsBetter: false) { Note = "on the wire, with TLS, over kept connections, no new lines" },
            new("attestation, from the service", "B", [.. runs.Select(static f => f.BytesReceived)], MoreIsBetter: false),
            new("attestation, written to the disk", "B", [.. runs.Select(static f => (double)(f.Service!.Value.After.Written - f.Service.Value.Before.Written) / f.Loop.Passed)], MoreIsBetter: false) { Note = "journal and tables, in pages of 4,096" },
            new("service, memory under that load", "MB", [.. runs.Select(static f => f.Service!.Value.After.Peak / 1e6)], MoreIsBetter: false) { Note = "its peak" },
        };
        foreach (var (name, options) in ((string, FleetOptions)[])[
            ("attestations, by the two requests of upstream's protocol", Steady with { OneTrip = false, Nodes = 600 }),
            ("attestations, 10 new lines each", Steady with { NewLines = 10, Nodes = 600 }),
            ("attestations, 1,000 new lines each", Steady with { NewLines = 1000, Nodes = 60 }),
            ("attestations, a connection for each request", Steady with { Handshakes = true, Nodes = 300 })])
        {
            var run = await rig.MeasureAsync(options, cancel);
            rows.Add(new(name, "/CPU s", Rates([run]), MoreIsBetter: true) { Note = $"RSA 2048, one run; {Row.Say(run.BytesSent)} B to the service" });
        }

        return rows;
    }

    // The same pace, once of machines that are all there are, and once of machines among a large fleet: what differs is the fleet, in the store and on the wire.
    private static async Task<Row> AmongManyAsync(CancellationToken cancel)
    {
        var alone = new FleetOptions { Nodes = 600, Interval = 1, Seed = true, OneTrip = true, Core = 0, Scheme = TpmAlgorithm.Ecdsa, Keys = 64, Warm = TimeSpan.FromSeconds(35), Length = Window };
        var fleet = alone with { Nodes = 12_000, Interval = 20, Enrolled = Fleet }; // each has come once in the warming up
        return await FleetRun.WithRigAsync(alone, few => FleetRun.WithRigAsync(fleet, async many =>
        {
            await few.WarmAsync(cancel);
            await many.WarmAsync(cancel);
            List<FleetFigures> less = [], more = [];
            for (var round = 0; round < Rounds; round++)
            {
                less.Add(await few.MeasureAsync(alone, cancel));
                more.Add(await many.MeasureAsync(fleet, cancel));
            }

            return new Row("attestations, 100,000 nodes enrolled, 12,000 of them attesting", "/CPU s", Rates(more), MoreIsBetter: true)
            {
                Peer = $"{alone.Nodes} nodes enrolled, all attesting, at the same {fleet.PerSecond:N0} a second, in turns",
                PeerFigures = Rates(less),
                Budget = LeastAmongMany,
                Note = "ECDSA P-256, SQLite, one core",
            };
        }, cancel), cancel);
    }

    // On the emulator it is the requests that count; it takes them one after the other, so they are few in a second.
    private static async Task<Row> OnAzureAsync(CancellationToken cancel)
    {
        var azure = await FleetRun.RunAsync(Steady with { Nodes = 60, Interval = 6, Azurite = true, Core = null, Warm = TimeSpan.FromSeconds(7), Length = TimeSpan.FromSeconds(12) }, cancel);
        var storage = azure.Storage!.ToDictionary(s => s.Key, s => (double)s.Value / azure.Loop.Passed);
        return new("requests to Azure Storage for an attestation", "", [storage.Values.Sum()], MoreIsBetter: false)
        { Note = string.Join(", ", storage.OrderByDescending(static s => s.Value).Select(static s => $"{Row.Say(s.Value)} {s.Key}")) };
    }

    private static IReadOnlyList<double> Rates(IEnumerable<FleetFigures> runs) => [.. runs.Select(static f => f.PerCpuSecond!.Value)];
}
