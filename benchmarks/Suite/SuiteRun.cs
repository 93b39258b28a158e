namespace Keylime.Benchmarks.Suite;

/// <summary><c>./bench</c>: every promise of the design, measured.</summary>
internal static class SuiteRun
{
    private static readonly string[] Parts = ["micro", "policy", "service", "fleet", "sweep", "storm", "agent"];

    public static async Task<int> CommandAsync(string[] args)
    {
        var given = new Arguments(args, ["--commit", "--only", "--agent", "--against", "--result", "--out"], []);
        if (given.Text("--against") is { } before && given.Text("--result") is { } saved)
        {
            Comparison.Print(SuiteResult.Read(before), SuiteResult.Read(saved), Console.Out);
            return 0;
        }

        var only = given.Text("--only")?.Split(',') ?? Parts;
        if (only.Except(Parts).FirstOrDefault() is { } unknown)
            throw new BenchmarkException($"--only: '{unknown}' is none of {string.Join(", ", Parts)}.");
        var earlier = given.Text("--against") is { } path ? SuiteResult.Read(path) : null; // what cannot be read is told before a quarter of an hour

        var clock = TimeProvider.System;
        var (start, machine, rows) = (clock.GetTimestamp(), HostMachine.Here(), new List<Row>());
        foreach (var part in Parts.Intersect(only))
        {
            var began = clock.GetTimestamp();
            rows.AddRange(part switch
            {
                "micro" => Verification.Measure(),
                "policy" => await PolicyRows.MeasureAsync(),
                "service" => await ServiceRows.MeasureAsync(CancellationToken.None),
                "fleet" => await FleetRows.MeasureAsync(CancellationToken.None),
                "sweep" => await SweepRows.MeasureAsync(CancellationToken.None),
                "storm" => await StormRows.MeasureAsync(CancellationToken.None),
                _ => await AgentRows.MeasureAsync(given.Text("--agent") ?? throw new BenchmarkException("--agent: the published agent is wanted."), CancellationToken.None),
            });
            Console.Error.WriteLine($"{part}: {clock.GetElapsedTime(began).TotalSeconds:N0} s");
        }

        var result = new SuiteResult(clock.GetUtcNow(), given.Text("--commit") ?? "an unknown commit", machine, rows);
        if (given.Text("--out") is { } file)
            result.Write(file);
        result.Print(Console.Out);
        Console.Error.WriteLine($"in {clock.GetElapsedTime(start).TotalMinutes:N1} minutes{(given.Text("--out") is { } written ? $"; {written}" : "")}");
        if (earlier is not null)
        {
            Console.WriteLine();
            Comparison.Print(earlier, result, Console.Out);
        }

        return 0;
    }
}
