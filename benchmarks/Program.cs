using Keylime.Benchmarks;

switch (args)
{
    case []:
        Verification.Run();
        return 0;
    case ["agent-footprint", var agent]:
        return await AgentFootprint.RunAsync(agent);
    default:
        Console.Error.WriteLine("usage: Keylime.Benchmarks, or benchmarks/agent-footprint");
        return 2;
}
