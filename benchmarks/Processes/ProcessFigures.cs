using System.Globalization;

namespace Keylime.Benchmarks.Processes;

/// <summary>What the kernel tells of a process, in /proc.</summary>
/// <param name="Cpu">Of all its threads, in user and in kernel mode; it comes in steps of 10 ms.</param>
/// <param name="Resident">Bytes of memory now.</param>
/// <param name="Peak">The most that there ever were.</param>
/// <param name="Written">Bytes that went to storage.</param>
/// <param name="Read">Bytes that programs read, from caches too.</param>
internal readonly record struct ProcessFigures(TimeSpan Cpu, long Resident, long Peak, long Written, long Read)
{
    private const double TicksPerSecond = 100; // USER_HZ, on every Linux that there is

    /// <exception cref="BenchmarkException">There is no such process any more.</exception>
    public static ProcessFigures Of(int process)
    {
        try
        {
            // proc(5): utime and stime are the 14th and 15th; the name in brackets may hold spaces.
            var stat = File.ReadAllText($"/proc/{process}/stat");
            var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            var ticks = Number(fields[11]) + Number(fields[12]);
            var status = File.ReadAllLines($"/proc/{process}/status");
            var io = File.ReadAllLines($"/proc/{process}/io");
            return new ProcessFigures(TimeSpan.FromSeconds(ticks / TicksPerSecond), 1024 * Member(status, "VmRSS"), 1024 * Member(status, "VmHWM"), Member(io, "write_bytes"), Member(io, "rchar"));
        }
        catch (Exception e) when (e is IOException or InvalidOperationException or UnauthorizedAccessException)
        {
            throw new BenchmarkException($"The process {process} has ended, or cannot be looked at: {e.Message}");
        }
    }

    /// <summary>Processor time of the threads that are there, in nanoseconds, by the scheduler; what threads took that have ended is not in it.</summary>
    /// <exception cref="BenchmarkException">There is no such process any more, or the kernel does not count.</exception>
    public static IReadOnlyDictionary<string, long> ThreadTimes(int process)
    {
        try
        {
            return Directory.GetDirectories($"/proc/{process}/task").ToDictionary(static t => t, static t => Number(File.ReadAllText(Path.Combine(t, "schedstat")).Split(' ')[0]));
        }
        catch (Exception e) when (e is IOException or InvalidOperationException or UnauthorizedAccessException)
        {
            throw new BenchmarkException($"The process {process} has ended, or cannot be looked at: {e.Message}");
        }
    }

    private static long Member(string[] lines, string name) =>
        Number(lines.First(l => l.StartsWith(name + ':', StringComparison.Ordinal)).Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1]);

    private static long Number(string text) => long.Parse(text, CultureInfo.InvariantCulture);
}
