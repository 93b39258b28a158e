using System.Globalization;
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
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(4);
    private static readonly TimeSpan Idle = TimeSpan.FromSeconds(30);

    public static async Task<IReadOnlyList<Row>> MeasureAsync(string agent, CancellationToken cancel)
    {
        var folder = Directory.CreateTempSubdirectory("agent-").FullName;
        try
        {
            await using var programs = new Programs(folder, agent);
            var fleet = new Fleet(programs);
            var service = await ServiceProcess.StartAsync(programs, Path.Combine(folder, "service"), Interval, cancel);
            await service.LoginAsync(fleet, cancel);
            await using var machine = await Machine.BootAsync("node", Path.Combine(folder, "node"), [], cancel);
            await service.TrustAsync(machine, cancel);
            machine.StartAgent(programs, service.Url, service.CaPath);
            await fleet.EnrolAsync(machine, cancel);
            await PassedAsync(fleet, 3, cancel);

            var none = await CycleAsync(fleet, machine, Cycles, cancel);
            var idle = await IdleAsync(fleet, machine, cancel);
            return
            [
                new("agent, one file", "MB", [new FileInfo(agent).Length / 1e6], MoreIsBetter: false) { Budget = 8 },
                new("agent, processor time of a cycle, no new lines", "ms", none, MoreIsBetter: false) { Note = $"over {Cycles} cycles; the kernel counts in steps of 10 ms" },
                new("agent, processor time of an hour at one cycle a minute", "s", [none.Average() * 60 / 1000 + idle], MoreIsBetter: false) { Note = $"{Row.Say(idle)} s of that without any cycle, extrapolated from {Idle.TotalSeconds:N0} s" },
                .. await LargeAsync(agent, cancel),
            ];
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

    // A machine that has measured a hundred thousand files before its agent starts.
    private static async Task<IReadOnlyList<Row>> LargeAsync(string agent, CancellationToken cancel)
    {
        var folder = Directory.CreateTempSubdirectory("agent-").FullName;
        try
        {
            await using var programs = new Programs(folder, agent);
            var fleet = new Fleet(programs);
            var service = await ServiceProcess.StartAsync(programs, Path.Combine(folder, "service"), Interval, cancel);
            await service.LoginAsync(fleet, cancel);
            await using var machine = await Machine.BootAsync("node", Path.Combine(folder, "node"), [], cancel);
            await service.TrustAsync(machine, cancel);
            await machine.MeasureManyAsync(Many - 1, cancel); // the first line is the aggregate of the boot
            machine.StartAgent(programs, service.Url, service.CaPath);
            await fleet.EnrolAsync(machine, cancel);
            await PassedAsync(fleet, 1, cancel);
            var first = ProcessFigures.Of(machine.Agent!.Id);
            await PassedAsync(fleet, 3, cancel);
            var before = ProcessFigures.Of(machine.Agent!.Id);
            var cycles = await CycleAsync(fleet, machine, Cycles, cancel);
            var after = ProcessFigures.Of(machine.Agent!.Id);
            return
            [
                new("agent, processor time to the first pass, 100,000 lines", "ms", [first.Cpu.TotalMilliseconds], MoreIsBetter: false) { Note = "with its start, its keys and its registration" },
                new("agent, processor time of a cycle, 100,000 old lines", "ms", cycles, MoreIsBetter: false),
                new("agent, bytes that a cycle reads, 100,000 old lines", "B", [(after.Read - before.Read) / (double)Cycles], MoreIsBetter: false) { Note = "of files; the list has more than ten million" },
                new("agent, memory, 100,000 lines", "MB", [after.Resident / 1e6], MoreIsBetter: false) { Budget = 20, Note = $"at its peak {Row.Say(after.Peak / 1e6)} MB" },
            ];
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<IReadOnlyList<double>> CycleAsync(Fleet fleet, Machine machine, int cycles, CancellationToken cancel)
    {
        await fleet.LookAsync(cancel);
        var (from, before) = (fleet.Nodes[0].Attestations, ProcessFigures.Of(machine.Agent!.Id));
        await PassedAsync(fleet, from + cycles, cancel);
        return [(ProcessFigures.Of(machine.Agent!.Id).Cpu - before.Cpu).TotalMilliseconds / (fleet.Nodes[0].Attestations - from)];
    }

    // With an interval that outlasts the measurement nothing is to be done but to wait.
    private static async Task<double> IdleAsync(Fleet fleet, Machine machine, CancellationToken cancel)
    {
        await fleet.DoAsync(cancel, "node", "update", "node", "--interval", "3600");
        await fleet.LookAsync(cancel);
        await PassedAsync(fleet, fleet.Nodes[0].Attestations + 1, cancel);
        await Task.Delay(Poll, cancel);
        var before = ProcessFigures.Of(machine.Agent!.Id).Cpu;
        await Task.Delay(Idle, cancel);
        return (ProcessFigures.Of(machine.Agent!.Id).Cpu - before).TotalSeconds * (3600 / Idle.TotalSeconds);
    }

    private static Task PassedAsync(Fleet fleet, long attestations, CancellationToken cancel) =>
        fleet.WaitAsync(string.Create(CultureInfo.InvariantCulture, $"it has passed {attestations} times"), Patience, () => fleet.Nodes is [{ State: NodeState.Trusted } node] && node.Attestations >= attestations, cancel);
}
