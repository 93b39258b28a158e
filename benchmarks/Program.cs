using Keylime.Benchmarks;

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
    case ["policies"]:
        await LargePolicies.RunAsync(1_000_000);
        return 0;
    case ["policies", "cold", var folder, .. var digests]:
        await ColdPolicies.RunAsync(folder, digests);
        return 0;
    default:
        Console.Error.WriteLine("usage: Keylime.Benchmarks, or benchmarks/agent-footprint, benchmarks/sweep or benchmarks/policies");
        return 2;
}
