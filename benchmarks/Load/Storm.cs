using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json;
using Keylime.Protocol;
using Keylime.Protocol.Api;
using Keylime.Tpm;

namespace Keylime.Benchmarks.Load;

/// <param name="Recovery">From the moment at which all came, to the last one's verdict.</param>
/// <param name="Seconds">Of each node, to its verdict; sorted.</param>
/// <param name="TurnedAway">Requests that were answered with 503.</param>
/// <param name="Cut">Requests whose connection ended without an answer.</param>
/// <param name="MostTries">That a single node took.</param>
/// <param name="Peak">Bytes, the most that the service had in memory.</param>
/// <param name="Calm">Bytes that it had before.</param>
/// <param name="Bystander">Milliseconds that small requests took meanwhile; sorted.</param>
internal sealed record StormResult(
    int Nodes, int Lines, TimeSpan Recovery, double[] Seconds, int TurnedAway, int Cut, int MostTries, long Peak, long Calm, double[] Bystander, IReadOnlyDictionary<NodeState, int> States)
{
    public double LinesPerSecond => (double)Nodes * Lines / Recovery.TotalSeconds;

    public int MostWaiting(double part) => (int)Math.Ceiling(part * Nodes) - 1;
}

/// <summary>Machines that all reboot at once and send their whole lists.</summary>
internal static class Storm
{
    private const string Usage = "usage: benchmarks/storm [--nodes N (300)] [--lines L (20,000)] [--interval S (10)] [--connections C (nodes)] [--core N]";
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1); // where the service names none
    private static readonly TimeSpan BetweenLooks = TimeSpan.FromMilliseconds(50);

    public static async Task<int> CommandAsync(string[] args)
    {
        if (args is ["--help" or "-h"])
        {
            Console.WriteLine(Usage);
            return 0;
        }

        var given = new Arguments(args, ["--nodes", "--lines", "--interval", "--connections", "--core"], []);
        var nodes = given.Number("--nodes", 300, 1, 100_000);
        var result = await RunAsync(nodes, given.Number("--lines", 20_000, 2, 1_000_000), given.Number("--interval", 10, 1, 3600),
            given.Number("--connections", nodes, 1, 20_000), given.Has("--core") ? given.Number("--core", 0, 0, 1023) : null, CancellationToken.None);
        Print(result, Console.Out);
        return result.States.Keys.All(static s => s == NodeState.Trusted) ? 0 : 1;
    }

    public static void Print(StormResult result, TextWriter to)
    {
        to.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{result.Nodes:N0} machines rebooted at once, {result.Lines:N0} lines each"));
        to.WriteLine(string.Create(CultureInfo.InvariantCulture, $"all had a verdict after {result.Recovery.TotalSeconds:N1} s: {result.LinesPerSecond:N0} lines a second"));
        to.WriteLine(string.Create(CultureInfo.InvariantCulture, $"a machine waited {result.Seconds[result.MostWaiting(0.5)]:N1} s (median), {result.Seconds[result.MostWaiting(0.99)]:N1} s (99 %), {result.Seconds[^1]:N1} s (the last one)"));
        to.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{result.TurnedAway:N0} requests were turned away with 503, and {result.Cut:N0} broken off without an answer; one machine came {result.MostTries} times"));
        to.WriteLine(string.Create(CultureInfo.InvariantCulture, $"the service had {result.Peak / 1e6:N0} MB at its peak, and {result.Calm / 1e6:N0} MB before"));
        to.WriteLine(string.Create(CultureInfo.InvariantCulture, $"small requests meanwhile took {Part(result.Bystander, 0.5):N0} ms (median), {Part(result.Bystander, 0.99):N0} ms (99 %)"));
        to.WriteLine("while it lasted, nodes were at worst: " + string.Join(", ", result.States.Select(static s => string.Create(CultureInfo.InvariantCulture, $"{s.Value:N0} {s.Key.ToString().ToLowerInvariant()}"))));
    }

    public static double Part(double[] sorted, double part) => sorted.Length == 0 ? double.NaN : sorted[Math.Min(sorted.Length - 1, (int)(part * sorted.Length))];

    /// <exception cref="BenchmarkException">A machine failed, or the service did not recover.</exception>
    public static async Task<StormResult> RunAsync(int count, int lines, int intervalSeconds, int connections, int? core, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        try
        {
            var options = new FleetOptions { Nodes = count, Interval = intervalSeconds, Seed = true, Format = Protocol.Upstream.ChosenParameters.PlainText, Scheme = TpmAlgorithm.Ecdsa, Keys = Math.Min(count, 64), Connections = connections, Core = core };
            return await FleetRun.WithRigAsync(options, rig =>
            {
                limit.CancelAfter(Limit);
                return RunAsync(rig, lines, limit.Token);
            }, cancel);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new BenchmarkException($"The service did not recover within {Limit.TotalMinutes} minutes.");
        }
    }

    private static async Task<StormResult> RunAsync(LoadRig rig, int lines, CancellationToken cancel)
    {
        // An ordinary attestation first, so that the times at which they are late and silent are true.
        await Parallel.ForEachAsync(rig.Nodes, new ParallelOptions { MaxDegreeOfParallelism = 16, CancellationToken = cancel }, async (node, token) => await PassAsync(rig, node, token));
        await Parallel.ForEachAsync(rig.Nodes, cancel, (node, _) =>
        {
            node.Reboot(lines);
            return ValueTask.CompletedTask;
        });
        await Task.Delay(TimeSpan.FromSeconds(rig.Options.Interval), cancel); // they are due

        var calm = rig.Service!.Figures.Resident;
        var clock = TimeProvider.System;
        var (start, seconds, ends) = (clock.GetTimestamp(), new ConcurrentBag<double>(), new ConcurrentBag<(int TurnedAway, int Cut)>());
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var (watch, look) = (WatchAsync(rig, over.Token), LookAsync(rig, over.Token));
        var goingOn = new ConcurrentBag<Task>();
        await Task.WhenAll(rig.Nodes.Select(node => Task.Run(async () =>
        {
            var end = await PassAsync(rig, node, cancel);
            ends.Add((end.TurnedAway, end.Cut));
            seconds.Add(clock.GetElapsedTime(start).TotalSeconds);
            goingOn.Add(GoOnAsync(rig, node, end.Next, over.Token)); // a machine that has its verdict is not at its end
        }, cancel)));
        var recovery = clock.GetElapsedTime(start);
        await over.CancelAsync();
        await Task.WhenAll(goingOn);
        return new StormResult(rig.Nodes.Count, lines, recovery, [.. seconds.Order()], ends.Sum(static e => e.TurnedAway), ends.Sum(static e => e.Cut), 1 + ends.Max(static e => e.TurnedAway + e.Cut), rig.Service.Figures.Peak, calm, await look, await watch);
    }

    private static async Task GoOnAsync(LoadRig rig, LoadNode node, TimeSpan next, CancellationToken over)
    {
        try
        {
            while (true)
            {
                await Task.Delay(next, over);
                next = (await PassAsync(rig, node, over)).Next;
            }
        }
        catch (OperationCanceledException)
        {
            // the storm is over
        }
    }

    /// <returns>How often it was turned away, and how often it got no answer, before it passed; and when it is to come again.</returns>
    private static async Task<(int TurnedAway, int Cut, TimeSpan Next)> PassAsync(LoadRig rig, LoadNode node, CancellationToken cancel)
    {
        var (turnedAway, cut) = (0, 0);
        while (true)
        {
            var outcome = await node.AttestAsync(rig.Client, cancel);
            switch (outcome.End)
            {
                case AttestEnd.Passed:
                    return (turnedAway, cut, outcome.Wait);
                case AttestEnd.NoSession:
                    await rig.Enrolment.OpenSessionAsync(node, cancel);
                    continue;
                case AttestEnd.TurnedAway:
                    turnedAway++;
                    break;
                case AttestEnd.Cut:
                    cut++;
                    break;
                case AttestEnd.Premature:
                    break;
                default:
                    throw new BenchmarkException($"{node.Id}: {outcome.End}: {outcome.Why}");
            }

            await Task.Delay(outcome.Wait > TimeSpan.Zero ? outcome.Wait : Pause, cancel);
        }
    }

    // What others feel: how long a request takes that costs nothing.
    private static async Task<double[]> LookAsync(LoadRig rig, CancellationToken cancel)
    {
        var clock = TimeProvider.System;
        var times = new List<double>();
        using var client = new LoadClient(rig.Service!.Url, rig.Service.CaPath, 1, keep: true);
        try
        {
            while (true)
            {
                var start = clock.GetTimestamp();
                await client.SendAsync(HttpMethod.Get, "/version", null, null, cancel);
                times.Add(clock.GetElapsedTime(start).TotalMilliseconds);
                await Task.Delay(BetweenLooks, cancel);
            }
        }
        catch (OperationCanceledException)
        {
            return [.. times.Order()];
        }
    }

    // The most nodes that an operator saw in each state but trusted, at any time.
    private static async Task<IReadOnlyDictionary<NodeState, int>> WatchAsync(LoadRig rig, CancellationToken cancel)
    {
        var worst = new Dictionary<NodeState, int>();
        using var client = new LoadClient(rig.Service!.Url, rig.Service.CaPath, 1, keep: true);
        try
        {
            while (true)
            {
                foreach (var state in (NodeState[])[NodeState.Late, NodeState.Silent, NodeState.Failed])
                {
                    var answer = await client.SendAsync(HttpMethod.Get, $"/v1/nodes?state={state.ToString().ToLowerInvariant()}&limit=1000", null, rig.OperatorToken, cancel);
                    if (answer.Status != 200)
                        throw new BenchmarkException($"The list of nodes was refused: {answer.Status}.");
                    var seen = JsonSerializer.Deserialize(answer.Body, ApiJson.Default.NodeList)!.Nodes.Count;
                    if (seen > worst.GetValueOrDefault(state))
                        worst[state] = seen;
                }

                await Task.Delay(Pause, cancel);
            }
        }
        catch (OperationCanceledException)
        {
            if (worst.Count == 0)
                worst[NodeState.Trusted] = rig.Nodes.Count;
            return worst;
        }
    }
}
