using Keylime.Benchmarks;
using Keylime.Benchmarks.Load;
using Keylime.Benchmarks.Suite;

try
{
    switch (args)
    {
        case []:
            Verification.Run();
            return 0;
        case ["agent-footprint", var agent]:
            return await AgentFootprint.RunAsync(agent);
        case ["sweep", .. var rest]:
            return await FleetSweep.CommandAsync(rest);
        case ["retention", .. var rest]:
            return await FleetRetention.CommandAsync(rest);
        case ["fleet", .. var rest]:
            return await FleetRun.CommandAsync(rest);
        case ["storm", .. var rest]:
            return await Storm.CommandAsync(rest);
        case ["suite", .. var rest]:
            return await SuiteRun.CommandAsync(rest);
        case ["model", .. var rest]:
            return AzureModel.Command(rest);
        case ["policies"]:
            await LargePolicies.RunAsync(1_000_000);
            return 0;
        case ["policies", "cold", var folder, .. var digests]:
            await ColdPolicies.RunAsync(folder, digests);
            return 0;
        default:
            Console.Error.WriteLine("usage: Keylime.Benchmarks, or a verb; docs/benchmarks.md has them");
            return 2;
    }
}
catch (BenchmarkException e)
{
    Console.Error.WriteLine($"error: {e.Message}");
    return 1;
}
