using System.Globalization;
using Keylime.Benchmarks.Load;
using Keylime.Benchmarks.Processes;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Testing;
using Keylime.Tpm;
using Microsoft.Extensions.DependencyInjection;

namespace Keylime.Benchmarks;

/// <summary>Retention over machines that attested at an even pace until now: of each, so many verdicts have expired since the last lap, and the others have not.</summary>
internal static class FleetRetention
{
    private const int Interval = 3600;
    private const int Kept = 168; // a week of hours

    public const string Usage = """
        usage: benchmarks/retention [--nodes N] [--expired V] [--azurite]

          --nodes N      machines (default 2,000; 200 with --azurite)
          --expired V    verdicts of each that have expired: 60 are an hour's, at an interval of a minute (default 60)
          --azurite      on an emulator of Azure Storage, with its requests counted; SQLite otherwise
        """;

    /// <param name="Requests">To the store, by kind; null on SQLite.</param>
    /// <param name="Next">Seconds of the lap after it, in which nothing had expired, and its requests.</param>
    public sealed record Figures(int Nodes, long Deleted, double Seconds, IReadOnlyDictionary<string, long>? Requests, (double Seconds, long Requests) Next);

    public static async Task<int> CommandAsync(string[] args)
    {
        if (args is ["--help" or "-h"])
        {
            Console.WriteLine(Usage);
            return 0;
        }

        var given = new Arguments(args, ["--nodes", "--expired"], ["--azurite"]);
        var onAzurite = given.Has("--azurite");
        var (nodes, expired) = (given.Number("--nodes", onAzurite ? 200 : 2000, 1, 1_000_000), given.Number("--expired", 60, 2, 100_000));
        var figures = await MeasureAsync(nodes, expired, onAzurite, CancellationToken.None);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{nodes:N0} nodes with {expired:N0} expired verdicts and {Kept} others each, {(onAzurite ? "Azurite" : "SQLite")}"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"a lap: {figures.Seconds,10:N2} s   {nodes / figures.Seconds:N0} nodes/s, {figures.Deleted / figures.Seconds:N0} verdicts deleted/s; 100,000 such nodes in {100_000 / (nodes / figures.Seconds) / 60:N1} minutes"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"the next: {figures.Next.Seconds,7:N2} s   {nodes / figures.Next.Seconds:N0} nodes/s; nothing had expired"));
        if (figures.Requests is { } requests)
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"requests: {(double)requests.Values.Sum() / nodes,7:N2}     a node ({string.Join(", ", requests.Select(r => $"{(double)r.Value / nodes:0.00} {r.Key}"))}); {(double)figures.Next.Requests / nodes:N2} in the next lap"));
        return 0;
    }

    /// <exception cref="BenchmarkException">It did not delete what it should have.</exception>
    public static async Task<Figures> MeasureAsync(int count, int expired, bool onAzurite, CancellationToken cancel)
    {
        var folder = Directory.CreateTempSubdirectory("retention-").FullName;
        try
        {
            await using var azurite = onAzurite ? await CountedAzurite.StartAsync(cancel) : null;
            var options = new ServiceOptions { Data = Path.Combine(folder, "service"), KeepVerdicts = TimeSpan.FromHours(Kept) };
            if (azurite is not null)
            {
                options = options with { AzureConnections = Path.Combine(folder, "connections") };
                await File.WriteAllTextAsync(options.AzureConnections, azurite.Counted, cancel);
            }

            PrivateFiles.CreateFolder(options.Data);
            await using var service = Service.Build(options);
            var now = TimeProvider.System.GetUtcNow().AddMinutes(5); // the oldest of the others has some minutes left
            using var tpm = new SoftwareTpm(TpmAlgorithm.Ecdsa);
            var nodes = SeededFleet.Of(count, [tpm.AttestationKey], new MeasuredList(1), 1, Interval, new string('0', 64)).Select(node => node with
            {
                EnrolledAt = now.AddHours(-Kept - expired - 1),
                NextAttestation = Kept + expired,
                Last = node.Last! with { Attestation = Kept + expired - 1, At = now.AddHours(-1) },
            }).ToList();
            var verdicts = nodes.SelectMany(node => Enumerable.Range(0, Kept + expired).Select(number => Verdict(node, number, now.AddHours(number - Kept - expired))));
            if (azurite is null)
            {
                await SeededFleet.ToSqliteAsync(Path.Combine(options.Data, "keylime.db"), nodes, verdicts, cancel);
            }
            else
            {
                await azurite.PrepareAsync(cancel);
                await SeededFleet.ToAzureAsync(azurite.Direct, nodes, verdicts, cancel);
            }

            var first = await LapAsync();
            var next = await LapAsync();
            var store = service.Services.GetRequiredService<IVerdictStore>();
            for (var i = 0; i < count; i += Math.Max(1, count / 50))
            {
                // Of what has expired the newest pass stays.
                if ((await store.ListSinceAsync(nodes[i].Id, 0, Kept + expired, cancel)) is var left && (left.Count != Kept + 1 || left[0].Message.Attestation != expired - 1))
                    throw new BenchmarkException($"Retention left {left.Count} verdicts of {nodes[i].Id}, from number {left[0].Message.Attestation} on; {Kept + 1} from {expired - 1} on are right.");
            }

            return new Figures(count, (long)count * (expired - 1), first.Seconds, azurite is null ? null : first.Requests, (next.Seconds, next.Requests.Values.Sum()));

            async Task<(double Seconds, Dictionary<string, long> Requests)> LapAsync()
            {
                var (retention, timers) = (service.Services.GetRequiredService<Retention>(), service.Services.GetRequiredService<IRecordStore<TimerState>>());
                var (clock, before) = (TimeProvider.System, azurite?.Counts ?? []);
                var start = clock.GetTimestamp();
                do
                    await retention.RunAsync(cancel);
                while ((await timers.FindAsync(Retention.Name, cancel))!.Value.Lap is not null);
                return (clock.GetElapsedTime(start).TotalSeconds, RequestCounter.Since(before, azurite?.Counts ?? []));
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static VerdictRecord Verdict(Node node, int number, DateTimeOffset at) => new()
    {
        Node = node.Id,
        RequestedAt = at,
        EvidenceReceivedAt = at,
        CheckpointChange = CheckpointChange.Set,
        Checkpoint = node.Checkpoint,
        Clock = node.Clock,
        Message = new Protocol.Api.VerdictMessage { Attestation = number, At = at, Evaluation = "pass", Coverage = node.Last!.Coverage, Findings = [], FindingCount = 0, AttestationKeyName = new string('0', 68), Clock = node.Clock },
    };
}
