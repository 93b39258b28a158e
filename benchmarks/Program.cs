using Keylime.Benchmarks;
using Keylime.Benchmarks.Load;

try
{
    switch (args)
    {
        case []:
            Verification.Run();
            return 0;
        case ["agent-footprint", var agent]:
            return await AgentFootprint.RunAsync(agent);
        case ["sweep"]:
            await FleetSweep.RunAsync(100_000);
            return 0;
        case ["fleet", .. var rest]:
            return await FleetRun.CommandAsync(rest);
        default:
            Console.Error.WriteLine("usage: Keylime.Benchmarks, or what benchmarks/README and docs/benchmarks.md name");
            return 2;
    }
}
catch (BenchmarkException e)
{
    Console.Error.WriteLine($"error: {e.Message}");
    return 1;
}
