using Keylime.Benchmarks.Processes;
using Keylime.Testing;

namespace Keylime.Benchmarks.Load;

/// <summary>A fleet, the service that it attests at, and whatever that needs: started, enrolled, ready to be measured.</summary>
internal sealed class LoadRig : IAsyncDisposable
{
    private const double WarmPace = 0.6; // of the pace: each comes before it is late, which is after two intervals
    private static readonly TimeSpan LeadIn = TimeSpan.FromSeconds(2); // until connections are there

    private readonly List<IAsyncDisposable> _running = [];
    private CountedAzurite? _azurite;
    private LoadClient? _client;
    private string _operatorToken = "";
    private long _slots;

    private LoadRig(FleetOptions options)
    {
        Options = options;
        List = new MeasuredList(options.PolicyFiles);
        (Nodes, Keys) = FleetRun.Make(options, List);
    }

    public FleetOptions Options { get; }

    public MeasuredList List { get; }

    public List<LoadNode> Nodes { get; }

    public List<SoftwareTpm> Keys { get; }

    /// <summary>Null where it runs elsewhere.</summary>
    public MeasuredService? Service { get; private set; }

    /// <summary>Of the emulator of Azure Storage, by the ways that are not counted; null without one.</summary>
    public string[]? Connections => _azurite?.Direct;

    public LoadClient Client => _client!;

    public LoadEnrolment Enrolment => new(Client, _operatorToken);

    public string OperatorToken => _operatorToken;

    public static async Task<LoadRig> StartAsync(FleetOptions options, string folder, CancellationToken cancel)
    {
        var rig = new LoadRig(options);
        try
        {
            await rig.StartAsync(folder, cancel);
            return rig;
        }
        catch
        {
            await rig.DisposeAsync();
            throw;
        }
    }

    /// <summary>The machines attest at a slower pace, and nobody looks.</summary>
    /// <exception cref="BenchmarkException">Attestations failed.</exception>
    public async Task WarmAsync(CancellationToken cancel)
    {
        if (Options.Warm > TimeSpan.Zero)
            Check(await RunAsync(Options, WarmPace, Client, TimeSpan.Zero, Options.Warm, static () => { }, static () => { }, cancel));
    }

    /// <param name="options">Those of the rig; of fewer machines, of more new lines, in another way to connect or to ask.</param>
    /// <exception cref="BenchmarkException">Attestations failed: what was measured does not work.</exception>
    public async Task<FleetFigures> MeasureAsync(FleetOptions options, CancellationToken cancel)
    {
        using var client = new LoadClient(Client.Url, Client.CaPath, options.Connections, !options.Handshakes);
        ProcessFigures generator = default, generatorAfter = default, service = default, serviceAfter = default;
        (long Sent, long Received, long Requests) wire = default, wireAfter = default;
        Dictionary<string, long> storage = [], storageAfter = [];
        var loop = Check(await RunAsync(options, 1, client, options.Warm == TimeSpan.Zero ? TimeSpan.Zero : LeadIn, options.Length,
            () => (generator, service, wire, storage) = (ProcessFigures.Of(Environment.ProcessId), Service?.Figures ?? default, client.Counted, Counts()),
            () => (generatorAfter, serviceAfter, wireAfter, storageAfter) = (ProcessFigures.Of(Environment.ProcessId), Service?.Figures ?? default, client.Counted, Counts()),
            cancel));
        return new FleetFigures(options, loop)
        {
            Generator = (generator, generatorAfter),
            Service = Service is null ? null : (service, serviceAfter),
            Wire = (wireAfter.Sent - wire.Sent, wireAfter.Received - wire.Received, wireAfter.Requests - wire.Requests),
            Storage = _azurite is null ? null : RequestCounter.Since(storage, storageAfter),
            Keys = Keys.Count,
        };
    }

    private async Task<LoopResult> RunAsync(FleetOptions options, double pace, LoadClient client, TimeSpan warm, TimeSpan length, Action started, Action ended, CancellationToken cancel)
    {
        var nodes = Nodes.Take(options.Nodes).ToList();
        foreach (var node in nodes)
            node.OneTrip = options.OneTrip;
        // It goes on with the machine whose turn it is: one that has just come is not wanted yet.
        var loop = new OpenLoop(nodes, client, Enrolment, pace * options.PerSecond, options.NewLines, _slots);
        var result = await loop.RunAsync(warm, length, started, ended, cancel);
        _slots = loop.Next;
        return result;
    }

    private static LoopResult Check(LoopResult loop)
    {
        if (loop.Others.TryGetValue(AttestEnd.Failed, out var failed) || loop.Others.TryGetValue(AttestEnd.Broken, out failed) || loop.Others.TryGetValue(AttestEnd.Cut, out failed))
            throw new BenchmarkException($"{failed.Count} attestations did not pass: {failed.First}");
        if (loop.Passed == 0)
            throw new BenchmarkException("Not one attestation passed in the time.");
        return loop;
    }

    public async ValueTask DisposeAsync()
    {
        _client?.Dispose();
        _running.Reverse();
        foreach (var running in _running)
            await running.DisposeAsync();
        foreach (var key in Keys)
            key.Dispose();
    }

    private async Task StartAsync(string folder, CancellationToken cancel)
    {
        var (url, ca) = (Options.Url, Options.CaPath);
        if (url is null)
        {
            Service = Add(await MeasuredService.StartAsync(Path.Combine(folder, "service"), Options.Core, cancel,
                [.. Options.Azurite ? await AzuriteAsync(folder, cancel) : [], "--interval", $"{Options.Interval}"]));
            (url, ca, _operatorToken) = (Service.Url, Service.CaPath, Service.OperatorToken);
            if (Options.Core is { } core)
                FleetRun.Leave(core);
        }
        else
        {
            _operatorToken = (await File.ReadAllTextAsync(Options.TokenPath!, cancel)).Trim();
        }

        _client = new LoadClient(url, ca!, Options.Connections, !Options.Handshakes);
        await Enrolment.PutPolicyAsync(List, cancel);
        if (Options.Seed)
        {
            await FleetRun.SeedAsync(this, cancel);
            foreach (var node in Nodes)
                node.Token = SeededFleet.Token;
            return;
        }

        var enrolment = Enrolment;
        await Parallel.ForEachAsync(Nodes, new ParallelOptions { MaxDegreeOfParallelism = 8, CancellationToken = cancel }, async (node, token) => await enrolment.EnrolAsync(node, Options.Interval, token));
    }

    private async Task<string[]> AzuriteAsync(string folder, CancellationToken cancel)
    {
        _azurite = Add(await CountedAzurite.StartAsync(cancel));
        var file = Path.Combine(folder, "connections");
        await File.WriteAllTextAsync(file, _azurite.Counted, cancel);
        return ["--azure-connections", file];
    }

    private T Add<T>(T running)
        where T : IAsyncDisposable
    {
        _running.Add(running);
        return running;
    }

    private Dictionary<string, long> Counts() => _azurite?.Counts ?? [];
}
