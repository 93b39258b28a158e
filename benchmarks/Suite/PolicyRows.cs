using System.Diagnostics;
using System.Globalization;
using Keylime.Attestation;
using Keylime.Benchmarks.Load;

namespace Keylime.Benchmarks.Suite;

/// <summary>A runtime policy of a million digests in a program that has just started: how long until it can judge, and what that takes.</summary>
internal static class PolicyRows
{
    private const int Digests = 1_000_000;
    private const int Runs = 3;

    public static async Task<IReadOnlyList<Row>> MeasureAsync(CancellationToken cancel)
    {
        var folder = Directory.CreateTempSubdirectory("policy-").FullName;
        try
        {
            var path = Path.Combine(folder, "policy.json");
            await File.WriteAllBytesAsync(path, new MeasuredList(Digests).Policy, cancel);
            List<double> times = [], memory = [];
            for (var i = 0; i < Runs; i++)
            {
                var start = new ProcessStartInfo(Environment.ProcessPath!) { ArgumentList = { "policy-cold", path }, RedirectStandardOutput = true };
                using var process = Process.Start(start) ?? throw new BenchmarkException("A program of our own did not start.");
                var said = (await process.StandardOutput.ReadToEndAsync(cancel)).Split(' ');
                await process.WaitForExitAsync(cancel);
                if (process.ExitCode != 0)
                    throw new BenchmarkException("The policy could not be read.");
                times.Add(double.Parse(said[0], CultureInfo.InvariantCulture));
                memory.Add(double.Parse(said[1], CultureInfo.InvariantCulture));
            }

            return
            [
                new("policy of 1,000,000 digests, cold, ready to judge", "ms", times, MoreIsBetter: false) { Budget = 100, Note = "from the text's bytes in a file, in a program that has just started" },
                new("policy of 1,000,000 digests, memory", "MB", memory, MoreIsBetter: false) { Budget = 64, Note = "what the program has more at its peak" },
            ];
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>In a program of its own: milliseconds, and megabytes at the peak beyond those before.</summary>
    public static int Cold(string path)
    {
        var before = Processes.ProcessFigures.Of(Environment.ProcessId).Resident;
        var clock = TimeProvider.System;
        var start = clock.GetTimestamp();
        if (!RuntimePolicy.TryParse(File.ReadAllBytes(path), out var policy, out var error))
            throw new BenchmarkException(error);
        var elapsed = clock.GetElapsedTime(start);
        var peak = Processes.ProcessFigures.Of(Environment.ProcessId).Peak;
        GC.KeepAlive(policy);
        Console.Write(string.Create(CultureInfo.InvariantCulture, $"{elapsed.TotalMilliseconds:F1} {(peak - before) / 1e6:F1}"));
        return 0;
    }
}
