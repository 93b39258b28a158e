using System.Globalization;
using Keylime.Demo;

namespace Keylime.Benchmarks;

/// <summary>The published agent's size, and the memory that it holds after 20 attestations with a measurement list of 100,000 lines.</summary>
internal static class AgentFootprint
{
    private const int Lines = 100_000;
    private const int Attestations = 20;

    public static async Task<int> RunAsync(string agent)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(15));
        var cancel = limit.Token;
        var folder = Directory.CreateTempSubdirectory("footprint-").FullName;
        try
        {
            await using var programs = new Programs(folder, agent);
            var fleet = new Fleet(programs);
            var service = await ServiceProcess.StartAsync(programs, Path.Combine(folder, "service"), 1, cancel);
            await service.LoginAsync(fleet, cancel);
            await using var machine = await Machine.BootAsync("node", Path.Combine(folder, "node"), [], cancel);
            await service.TrustAsync(machine, cancel);
            Console.Error.WriteLine($"measuring {Lines:N0} files into PCR 10 of a software TPM");
            await machine.MeasureManyAsync(Lines - 1, cancel); // the first line is the aggregate of the boot
            machine.StartAgent(programs, service.Url, service.CaPath);
            await fleet.EnrolAsync(machine, cancel);
            await fleet.WaitAsync("it has attested", TimeSpan.FromMinutes(3),
                () => fleet.Nodes is [{ State: Protocol.Api.NodeState.Trusted, Attestations: >= Attestations }], cancel);

            var verdict = (await fleet.ShowAsync("node", cancel)).LastVerdict!;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"agent, one file         {new FileInfo(agent).Length / 1e6:F2} MB"));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"VmRSS                   {Status(machine, "VmRSS"):F1} MB  after {fleet.Nodes[0].Attestations} attestations, {verdict.ImaTo:N0} lines proven"));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"VmHWM (its peak)        {Status(machine, "VmHWM"):F1} MB"));
            return 0;
        }
        catch (DemoException e)
        {
            Console.Error.WriteLine($"error: {e.Message}");
            return 1;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    // In MB of 1,000,000 bytes; the kernel tells kB of 1,024.
    private static double Status(Machine machine, string name) =>
        double.Parse(File.ReadLines($"/proc/{machine.Agent!.Id}/status").Single(l => l.StartsWith(name + ':', StringComparison.Ordinal))
            .Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024 / 1e6;
}
