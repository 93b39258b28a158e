using Keylime.Protocol.Api;

namespace Keylime.Demo;

/// <summary>
/// Three nodes with a secret each that only machines which pass get. The first stays good; on the second a program runs that no policy allows, and it loses the secret; the third falls silent.
/// A receiver of webhooks is told.
/// </summary>
/// <param name="hosted">Through the Functions host's protocol, on Azure's storage, instead of the embedded default.</param>
internal sealed class Story(string folder, bool once, bool hosted) : IAsyncDisposable
{
    private const int IntervalSeconds = 4;
    private const int MeasuredFiles = 60;

    private static readonly string[] Names = ["node-1", "node-2", "node-3"];
    private static readonly TimeSpan ForStart = TimeSpan.FromSeconds(45);
    private static readonly TimeSpan ForConsequence = TimeSpan.FromSeconds(60);

    private readonly Programs _programs = new(folder);
    private readonly List<Machine> _machines = [];
    private HostedService? _hosted;
    private Receiver? _receiver;
    private Payload? _payload;

    private string Data => Path.Combine(folder, "service");

    public async Task PlayAsync(CancellationToken cancel)
    {
        var fleet = new Fleet(_programs);
        await StartAsync(fleet, cancel);

        using var watching = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var table = once ? Task.CompletedTask : _programs.ShowAsync(watching.Token, "watch", "--interval", "1");

        await fleet.WaitAsync("all three nodes are trusted", ForStart, () => Names.All(n => fleet.StateOf(n) == NodeState.Trusted), cancel);
        await TellAsync("All three have proven themselves.", cancel);

        await _payload!.PutAsync(cancel, "--node", Names[0], "--node", Names[1]);
        await fleet.WaitAsync($"{Names[0]} and {Names[1]} have the payload", ForConsequence, () => _payload.IsAt(_machines[0]) && _payload.IsAt(_machines[1]), cancel);
        Say($"The payload '{Payload.Name}' is on {Names[0]} and {Names[1]}, opened by their TPMs.");
        if (!once)
            await Task.Delay(TimeSpan.FromSeconds(10), TimeProvider.System, cancel); // for whoever looks on

        var intruder = await WriteIntruderAsync(cancel);
        await _machines[1].MeasureFileAsync(intruder, cancel);
        _machines[2].KillAgent();
        var before = fleet.Nodes.Single(n => n.Id.ToString() == Names[0]).Attestations;

        await fleet.WaitAsync($"{Names[1]} fails", ForConsequence, () => fleet.StateOf(Names[1]) == NodeState.Failed, cancel);
        await CheckFailureAsync(fleet, intruder, cancel);
        await TellAsync($"{Names[1]} ran a program that its policy does not allow: {intruder}", cancel);
        await fleet.WaitAsync($"{Names[1]} wipes the payload", ForConsequence, () => _payload.IsGoneFrom(_machines[1]), cancel);
        await CheckPayloadAsync(cancel);
        Say($"{Names[1]} has wiped the payload, and is refused it; {Names[0]} still has it.");

        await fleet.WaitAsync($"{Names[2]} is late", ForConsequence, () => fleet.StateOf(Names[2]) == NodeState.Late, cancel);
        await TellAsync($"{Names[2]} was killed, and is late.", cancel);
        await fleet.WaitAsync($"{Names[2]} is silent", ForConsequence, () => fleet.StateOf(Names[2]) == NodeState.Silent, cancel);
        await TellAsync($"{Names[2]} is silent: nothing is known of it now.", cancel);

        CheckStates(fleet, before);
        await fleet.WaitAsync("the webhook's receiver is told", ForConsequence, () => IsTold("node.failed", Names[1]) && IsTold("node.silent", Names[2]), cancel);
        CheckTold();
        if (once)
        {
            Console.WriteLine("Seen as it should be: one good node with its payload, one failed with the path named and its payload wiped, one late and then silent; both told by a signed webhook.");
            return;
        }

        await table; // until somebody stops it
    }

    public async ValueTask DisposeAsync()
    {
        await _programs.DisposeAsync();
        if (_hosted is not null)
            await _hosted.DisposeAsync();
        if (_receiver is not null)
            await _receiver.DisposeAsync();
        foreach (var machine in _machines)
            await machine.DisposeAsync();
        _payload?.Dispose();
    }

    private async Task StartAsync(Fleet fleet, CancellationToken cancel)
    {
        Console.WriteLine($"Starting the service{(hosted ? " as a custom handler of the Functions host, on Azure's storage" : "")}, and three nodes with a software TPM each.");
        _receiver = Receiver.Start(told => Say($"Webhook, signature verified: {told.Type} {told.Subject}: {told.Detail}"));
        _payload = new Payload(fleet, folder);
        var starting = StartServiceAsync(new Uri(_receiver.Url).Authority, cancel);

        var files = Directory.EnumerateFiles("/usr/bin").Where(f => new FileInfo(f).LinkTarget is null).Order(StringComparer.Ordinal).Take(MeasuredFiles).ToArray();
        foreach (var name in Names)
            _machines.Add(await Machine.BootAsync(name, Path.Combine(folder, name), files, cancel));

        var (url, authority, token) = await starting;
        await fleet.DoAsync(cancel, "login", "--url", url, "--ca", authority, "--token-file", token);
        foreach (var machine in _machines)
        {
            var root = Path.Combine(machine.Folder, "maker.pem");
            await File.WriteAllTextAsync(root, machine.CaCertificatePem, cancel);
            await fleet.DoAsync(cancel, "trust", "add", root);
            machine.StartAgent(_programs, url, authority, _payload.OptionOf(machine));
        }

        _receiver.Secret = await fleet.AddWebhookAsync("demonstration", _receiver.Url, "node.failed,node.silent", cancel);
        foreach (var machine in _machines)
            await fleet.EnrolAsync(machine, cancel);
    }

    private async Task<(string Url, string Authority, string Token)> StartServiceAsync(string outbound, CancellationToken cancel)
    {
        if (hosted)
        {
            _hosted = await HostedService.StartAsync(folder, Data, IntervalSeconds, outbound, cancel);
            return (_hosted.Url, _hosted.AuthorityPath, Path.Combine(Data, "operator.token"));
        }

        var service = await ServiceProcess.StartAsync(_programs, Data, IntervalSeconds, cancel, more: ["--allow-outbound", outbound]);
        return (service.Url, service.CaPath, Path.Combine(Data, "operator.token"));
    }

    private async Task<string> WriteIntruderAsync(CancellationToken cancel)
    {
        var path = Path.Combine(_machines[1].Folder, "usr", "local", "bin", "miner");
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        await File.WriteAllTextAsync(path, "#!/bin/sh\nexec sleep 1\n", cancel);
        return path;
    }

    private static async Task CheckFailureAsync(Fleet fleet, string intruder, CancellationToken cancel)
    {
        var details = await fleet.ShowAsync(Names[1], cancel);
        if (details.LastVerdict?.Findings is not [{ Path: var path }] || path != intruder)
        {
            var findings = string.Join("; ", details.LastVerdict?.Findings.Select(f => $"{f.Code} {f.Path} {f.Detail}") ?? []);
            throw new DemoException($"{Names[1]} should have failed by one finding that names {intruder}, and has: {findings}");
        }
    }

    private async Task CheckPayloadAsync(CancellationToken cancel)
    {
        if (!_payload!.IsAt(_machines[0]))
            throw new DemoException($"{Names[0]} should still have the payload.");
        var decisions = await _payload.DecisionsAsync(cancel);
        if (decisions.GetValueOrDefault(Names[0]) != "granted" || decisions.GetValueOrDefault(Names[1]) != "node_failed")
            throw new DemoException($"{Names[0]} should be granted the payload and {Names[1]} refused as failed; it is: {string.Join(", ", decisions)}");
        var released = await _payload.ReleasedToAsync(cancel);
        if (!released.SequenceEqual([Names[0], Names[1]]))
            throw new DemoException($"The ledger should have one release to {Names[0]} and one to {Names[1]}, and has: {string.Join(", ", released)}");
    }

    private bool IsTold(string type, string subject) => _receiver!.All.Any(t => t.Type == type && t.Subject == subject);

    private void CheckTold()
    {
        var told = _receiver!.All.Select(static t => $"{t.Type} {t.Subject}").Order(StringComparer.Ordinal).ToArray();
        if (_receiver.Refused > 0 || !told.SequenceEqual([$"node.failed {Names[1]}", $"node.silent {Names[2]}"]))
            throw new DemoException($"The webhook should have told of {Names[1]} failing and {Names[2]} falling silent, each once; it told: {string.Join(", ", told)}; {_receiver.Refused} without a signature that fits.");
    }

    private static void CheckStates(Fleet fleet, long before)
    {
        Expect(Names[0], NodeState.Pending, NodeState.Trusted);
        Expect(Names[1], NodeState.Pending, NodeState.Trusted, NodeState.Failed);
        Expect(Names[2], NodeState.Pending, NodeState.Trusted, NodeState.Late, NodeState.Silent);

        var good = fleet.Nodes.Single(n => n.Id.ToString() == Names[0]);
        if (good.Attestations <= before)
            throw new DemoException($"{Names[0]} should have gone on attesting.");
        if (good.Coverage is not { Identity: "ek-certificate", Runtime: "ima" })
            throw new DemoException($"{Names[0]} should be known by its endorsement certificate and judged by its list, and is: {good.Coverage}");

        void Expect(string name, params NodeState[] expected)
        {
            // Whoever looks once in 0.4 s may miss the first state.
            var seen = fleet.Seen[name].SkipWhile(s => s == NodeState.Pending);
            if (!seen.SequenceEqual(expected.SkipWhile(s => s == NodeState.Pending)))
                throw new DemoException($"{name} should have been {string.Join(", then ", expected)}, and was {string.Join(", then ", fleet.Seen[name])}.");
        }
    }

    private void Say(string what)
    {
        if (once)
            Console.WriteLine(what); // otherwise the live table has the terminal
    }

    private async Task TellAsync(string what, CancellationToken cancel)
    {
        if (!once)
            return; // the live table tells
        Console.WriteLine();
        Console.WriteLine(what);
        if (await _programs.ShowAsync(cancel, "watch", "--once") is var exit and not 0)
            throw new DemoException($"keylime watch ended with {exit}.");
    }
}
