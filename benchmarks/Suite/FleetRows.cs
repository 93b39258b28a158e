using Keylime.Benchmarks.Load;
using Keylime.Tpm;

namespace Keylime.Benchmarks.Suite;

/// <summary>What an attestation costs the service, and whether a large fleet makes it cost more.</summary>
internal static class FleetRows
{
    private const double Least = 1000; // attestations a second, of one core
    private const double LeastAmongMany = 0.9;

    // The timetable is below what one core does, so that each run measures the cost of an attestation and not of a queue.
    private static readonly FleetOptions Steady = new() { Nodes = 300, Interval = 1, Seed = true, OneTrip = true, Core = 0, Warm = TimeSpan.FromSeconds(6), Length = TimeSpan.FromSeconds(8) };

    public static async Task<IReadOnlyList<Row>> MeasureAsync(CancellationToken cancel)
    {
        var rows = new List<Row>();
        List<FleetFigures> rsa = [], thousand = [], many = [], few = [], fewAmongMany = [];
        for (var round = 0; round < 3; round++)
        {
            rsa.Add(await RunAsync(Steady, cancel));
            // The same machines at the same pace; what differs is who else is enrolled.
            thousand.Add(await RunAsync(Steady with { Scheme = TpmAlgorithm.Ecdsa, Enrolled = 1000 }, cancel));
            many.Add(await RunAsync(Steady with { Scheme = TpmAlgorithm.Ecdsa, Enrolled = 100_000 }, cancel));
        }

        var ten = Steady with { Nodes = 10, Scheme = TpmAlgorithm.Ecdsa, Warm = TimeSpan.FromSeconds(10) };
        few.Add(await RunAsync(ten, cancel));
        fewAmongMany.Add(await RunAsync(ten with { Enrolled = 100_000 }, cancel));

        rows.Add(new("attestations, steady state, RSA 2048, SQLite, one core", "/CPU s", Rates(rsa), MoreIsBetter: true)
        { Budget = Least, Note = "for a second of the service's processor time, in one request each, at 300 a second" });
        rows.Add(new("attestations, as offered at that pace", "/s", [.. rsa.Select(static f => f.PerSecond)], MoreIsBetter: true) { Note = "300 a second were due; fewer come where the machine has other work, or the service cannot do more" });
        rows.Add(new("attestation, due to verdict, median", "ms", [.. rsa.Select(static f => f.Loop.Percentile(0.5))], MoreIsBetter: false));
        rows.Add(new("attestation, due to verdict, 99 %", "ms", [.. rsa.Select(static f => f.Loop.Percentile(0.99))], MoreIsBetter: false));
        rows.Add(new("attestation, due to verdict, 99.9 %", "ms", [.. rsa.Select(static f => f.Loop.Percentile(0.999))], MoreIsBetter: false));
        rows.Add(new("attestation, to the service", "B", [.. rsa.Select(static f => f.BytesSent)], MoreIsBetter: false) { Note = "on the wire, with TLS, over kept connections, no new lines" });
        rows.Add(new("attestation, from the service", "B", [.. rsa.Select(static f => f.BytesReceived)], MoreIsBetter: false));
        rows.Add(new("service, memory under that load", "MB", [.. rsa.Select(static f => f.Service!.Value.After.Peak / 1e6)], MoreIsBetter: false) { Note = "its peak" });
        rows.Add(new("attestations, ECDSA P-256, 1,000 enrolled", "/CPU s", Rates(thousand), MoreIsBetter: true));
        rows.Add(new("attestations, ECDSA P-256, 100,000 enrolled", "/CPU s", Rates(many), MoreIsBetter: true)
        { Peer = "the same with 1,000 enrolled, in turns", PeerFigures = Rates(thousand), Budget = LeastAmongMany });
        rows.Add(new("ten nodes among 100,000", "/CPU s", Rates(fewAmongMany), MoreIsBetter: true)
        { Peer = "the same ten alone", PeerFigures = Rates(few), Note = "ten a second, so that the service's own clocks and collections are a large part of both" });

        foreach (var (name, options) in ((string, FleetOptions)[])[
            ("attestations, by the two requests of upstream's protocol", Steady with { OneTrip = false }),
            ("attestations, 10 new lines each", Steady with { NewLines = 10 }),
            ("attestations, 1,000 new lines each", Steady with { NewLines = 1000, Nodes = 60 }),
            ("attestations, a connection for each request", Steady with { Handshakes = true, Nodes = 150 })])
            rows.Add(new(name, "/CPU s", Rates([await RunAsync(options, cancel)]), MoreIsBetter: true) { Note = "RSA 2048, one run" });

        // On the emulator it is the requests that count; it takes them one after the other, so they are few in a second.
        var azure = await RunAsync(Steady with { Nodes = 60, Interval = 6, Azurite = true, Core = null, Warm = TimeSpan.FromSeconds(7), Length = TimeSpan.FromSeconds(12) }, cancel);
        var storage = azure.Storage!.ToDictionary(s => s.Key, s => (double)s.Value / azure.Loop.Passed);
        rows.Add(new("requests to Azure Storage for an attestation", "", [storage.Values.Sum()], MoreIsBetter: false)
        { Note = string.Join(", ", storage.OrderByDescending(static s => s.Value).Select(static s => $"{Row.Say(s.Value)} {s.Key}")) });
        return rows;
    }

    private static IReadOnlyList<double> Rates(IEnumerable<FleetFigures> runs) => [.. runs.Select(static f => f.PerCpuSecond!.Value)];

    private static Task<FleetFigures> RunAsync(FleetOptions options, CancellationToken cancel) => FleetRun.RunAsync(options, cancel);
}
