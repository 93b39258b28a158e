using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Keylime.Benchmarks.Processes;
using Keylime.Demo;
using Keylime.Protocol.Api;

namespace Keylime.Benchmarks.Suite;

/// <summary>The published agent on a software TPM: its size and memory, and what a cycle takes with some, many and no new lines in its list.</summary>
internal static class AgentRows
{
    private const int Interval = 2; // seconds
    private const int Cycles = 10;
    private const int Many = 100_000;
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(4);
    private static readonly TimeSpan Idle = TimeSpan.FromSeconds(40);

    public static async Task<IReadOnlyList<Row>> MeasureAsync(string agent, CancellationToken cancel)
    {
        var folder = Directory.CreateTempSubdirectory("agent-").FullName;
        try
        {
            await using var rig = await RigAsync(folder, agent, cancel);
            var rows = new List<Row> { new("agent, one file", "MB", [new FileInfo(agent).Length / 1e6], MoreIsBetter: false) { Budget = 8 } };
            var none = await CyclesAsync(rig, Cycles, cancel);
            rows.Add(new("agent, processor time of a cycle, no new lines", "ms", [none.Milliseconds], MoreIsBetter: false) { Note = $"over {Cycles} cycles" });
            rows.Add(new("agent, a cycle on the wire, no new lines", "B", [none.Sent], MoreIsBetter: false) { Note = $"to the service, with TLS; {Row.Say(none.Received)} B back" });
            rows.Add(new("agent, commands of the TPM in a cycle", "", [none.Commands], MoreIsBetter: false) { Note = $"{Row.Say(none.Quotes)} of them TPM2_Quote" });

            // With an interval that outlasts the measurement nothing is to be done but to wait.
            await rig.Fleet.DoAsync(cancel, "node", "update", "node", "--interval", "3600");
            await Task.Delay(TimeSpan.FromSeconds(3 * Interval), cancel); // it has come once more, and was told
            var before = await LookAsync(rig, cancel);
            await Task.Delay(Idle, cancel);
            var after = await LookAsync(rig, cancel);
            if (after.Passed != before.Passed)
                throw new BenchmarkException("The agent attested where it was to wait for an hour.");
            var idle = Milliseconds(before, after) / 1000 * (3600 / Idle.TotalSeconds);
            rows.Add(new("agent, processor time of an hour without a cycle", "s", [idle], MoreIsBetter: false) { Note = $"extrapolated from {Idle.TotalSeconds:N0} s" });
            rows.Add(new("agent, processor time of an hour at one cycle a minute", "s", [none.Milliseconds * 60 / 1000 + idle], MoreIsBetter: false));
            await rig.Fleet.DoAsync(cancel, "node", "update", "node", "--interval", $"{Interval}");
            await rig.RestartAsync(cancel); // it would sleep for the hour
            await PassedAsync(rig, 2, cancel);

            foreach (var (lines, times) in ((int, int)[])[(10, 5), (1000, 3), (Many, 1)])
            {
                var cycles = new List<Cycle>();
                for (var i = 0; i < times; i++)
                    cycles.Add(await AfterAsync(rig, lines, cancel));
                rows.Add(new($"agent, processor time of a cycle, {lines:N0} new lines", "ms", [.. cycles.Select(static c => c.Milliseconds)], MoreIsBetter: false));
                rows.Add(new($"agent, a cycle on the wire, {lines:N0} new lines", "B", [.. cycles.Select(static c => c.Sent)], MoreIsBetter: false)
                { Note = $"to the service, with TLS; the lines themselves are {Row.Say(cycles[^1].ListBytes)} B" });
            }

            var (read, old) = (rig.Agent.Read, await CyclesAsync(rig, Cycles, cancel));
            var large = rig.Agent;
            rows.Add(new("agent, processor time of a cycle, 100,000 old lines", "ms", [old.Milliseconds], MoreIsBetter: false));
            rows.Add(new("agent, bytes that a cycle reads, 100,000 old lines", "B", [(large.Read - read) / old.Count], MoreIsBetter: false) { Note = $"of files; the list has {Row.Say(new FileInfo(rig.Machine.LogPath).Length)}" });
            rows.Add(new("agent, memory, 100,000 lines", "MB", [large.Resident / 1e6], MoreIsBetter: false) { Budget = 20, Note = $"after it sent them all; at its peak {Row.Say(large.Peak / 1e6)} MB" });

            await rig.RestartAsync(cancel);
            await PassedAsync(rig, 2, cancel);
            rows.Add(new("agent, memory after its start, 100,000 old lines", "MB", [rig.Agent.Resident / 1e6], MoreIsBetter: false) { Note = $"at its peak {Row.Say(rig.Agent.Peak / 1e6)} MB; {Row.Say(rig.Agent.Cpu.TotalMilliseconds)} ms of processor time until then, with its keys" });
            return rows;
        }
        catch (DemoException e)
        {
            throw new BenchmarkException(e.Message);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>What one cycle took, a mean where there were several.</summary>
    private readonly record struct Cycle(double Count, double Milliseconds, double Sent, double Received, double Commands, double Quotes, double ListBytes);

    private sealed record Look(double Passed, IReadOnlyDictionary<string, long> Threads, (long Sent, long Received) Wire, IReadOnlyDictionary<uint, long> Commands);

    private sealed record Rig(Programs Programs, Fleet Fleet, ServiceProcess Service, Machine Machine, CountingRelay Wire, Uri Url, CountingRelay Tpm, TpmCommandCounter Commands) : IAsyncDisposable
    {
        public ProcessFigures Agent => ProcessFigures.Of(Machine.Agent!.Id);

        public void Start() => Machine.StartAgent(Programs, Url.GetLeftPart(UriPartial.Authority), Service.CaPath);

        public async Task RestartAsync(CancellationToken cancel)
        {
            var former = Machine.Agent!;
            Machine.KillAgent();
            await former.WaitForExitAsync(cancel);
            Start();
        }

        public async ValueTask DisposeAsync()
        {
            Machine.KillAgent();
            await Wire.DisposeAsync();
            await Tpm.DisposeAsync();
            await Machine.DisposeAsync();
            await Programs.DisposeAsync();
        }
    }

    private static async Task<Rig> RigAsync(string folder, string agent, CancellationToken cancel)
    {
        var programs = new Programs(folder, agent);
        var fleet = new Fleet(programs);
        var service = await ServiceProcess.StartAsync(programs, Path.Combine(folder, "service"), Interval, cancel);
        await service.LoginAsync(fleet, cancel);
        var machine = await Machine.BootAsync("node", Path.Combine(folder, "node"), [], cancel);
        await service.TrustAsync(machine, cancel);
        var commands = new TpmCommandCounter();
        var socket = Path.Combine(folder, "tpm.sock");
        var tpm = CountingRelay.Before(machine.TpmSocket, socket, commands.See);
        machine.TpmSocket = socket;
        var (wire, url) = CountingRelay.Before(new Uri(service.Url));
        var rig = new Rig(programs, fleet, service, machine, wire, url, tpm, commands);
        rig.Start();
        await fleet.EnrolAsync(machine, cancel, policy => AllowExamplesAsync(policy, cancel));
        await PassedAsync(rig, 3, cancel);
        return rig;
    }

    private static async Task AllowExamplesAsync(string path, CancellationToken cancel)
    {
        var policy = JsonNode.Parse(await File.ReadAllTextAsync(path, cancel))!;
        for (var i = 0; i < Many; i++)
        {
            var (file, digest) = Machine.Example(i);
            policy["digests"]![file] = new JsonArray(Convert.ToHexStringLower(digest));
        }

        await File.WriteAllTextAsync(path, policy.ToJsonString(), cancel);
    }

    private static async Task<Cycle> CyclesAsync(Rig rig, int cycles, CancellationToken cancel)
    {
        var before = await LookAsync(rig, cancel);
        await PassedAsync(rig, cycles, cancel);
        return Since(before, await LookAsync(rig, cancel), 0);
    }

    // The agent sleeps while they are measured, so that one cycle has them all.
    private static async Task<Cycle> AfterAsync(Rig rig, int lines, CancellationToken cancel)
    {
        var had = new FileInfo(rig.Machine.LogPath).Length;
        var before = await LookAsync(rig, cancel);
        await SignalAsync(rig, "STOP", cancel);
        await rig.Machine.MeasureManyAsync(lines, cancel);
        await SignalAsync(rig, "CONT", cancel);
        await PassedAsync(rig, 1, cancel);
        return Since(before, await LookAsync(rig, cancel), new FileInfo(rig.Machine.LogPath).Length - had);
    }

    private static async Task<Look> LookAsync(Rig rig, CancellationToken cancel)
    {
        await rig.Fleet.LookAsync(cancel);
        return new Look(rig.Fleet.Nodes[0].Attestations, ProcessFigures.ThreadTimes(rig.Machine.Agent!.Id), rig.Wire.Counted, rig.Commands.Counts);
    }

    private static Cycle Since(Look before, Look after, double listBytes)
    {
        var count = after.Passed - before.Passed;
        return new Cycle(
            count, Milliseconds(before, after) / count, (after.Wire.Sent - before.Wire.Sent) / count, (after.Wire.Received - before.Wire.Received) / count,
            (after.Commands.Values.Sum() - before.Commands.Values.Sum()) / count,
            (after.Commands.GetValueOrDefault(TpmCommandCounter.Quote) - before.Commands.GetValueOrDefault(TpmCommandCounter.Quote)) / count, listBytes);
    }

    private static double Milliseconds(Look before, Look after) => after.Threads.Sum(t => t.Value - before.Threads.GetValueOrDefault(t.Key)) / 1e6;

    private static async Task SignalAsync(Rig rig, string signal, CancellationToken cancel)
    {
        using var kill = Process.Start("/bin/kill", [$"-{signal}", $"{rig.Machine.Agent!.Id}"]);
        await kill.WaitForExitAsync(cancel);
    }

    private static async Task PassedAsync(Rig rig, int more, CancellationToken cancel)
    {
        await rig.Fleet.LookAsync(cancel);
        var wanted = more + (rig.Fleet.Nodes is [{ } known] ? known.Attestations : 0);
        await rig.Fleet.WaitAsync(string.Create(CultureInfo.InvariantCulture, $"it has passed {more} more times"), Patience, () => rig.Fleet.Nodes is [{ State: NodeState.Trusted } node] && node.Attestations >= wanted, cancel);
    }
}
