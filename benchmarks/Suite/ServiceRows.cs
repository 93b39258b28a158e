using Keylime.Benchmarks.Processes;

namespace Keylime.Benchmarks.Suite;

/// <summary>How fast the published service is there, and what it takes before anybody came.</summary>
internal static class ServiceRows
{
    private const int Starts = 5;
    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(1);

    public static async Task<IReadOnlyList<Row>> MeasureAsync(CancellationToken cancel)
    {
        var folder = Directory.CreateTempSubdirectory("start-").FullName;
        try
        {
            List<double> first = [], later = [], memory = [];
            for (var i = -1; i < Starts; i++) // one before, for this program's own TLS
            {
                var data = Path.Combine(folder, $"data-{i}");
                await using (var made = await MeasuredService.StartAsync(data, null, cancel))
                {
                    if (i >= 0)
                        first.Add(made.Start.TotalMilliseconds);
                }

                await using var again = await MeasuredService.StartAsync(data, null, cancel);
                if (i < 0)
                    continue;
                later.Add(again.Start.TotalMilliseconds);
                await Task.Delay(Rest, cancel);
                memory.Add(again.Figures.Resident / 1e6);
            }

            return
            [
                new("service, start to first answer", "ms", later, MoreIsBetter: false) { Budget = 1000, Note = "the process's start to a 200 over TLS, on a data directory that is there" },
                new("service, its very first start", "ms", first, MoreIsBetter: false) { Note = "it makes its keys and certificates" },
                new("service, memory after its start", "MB", memory, MoreIsBetter: false),
            ];
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
