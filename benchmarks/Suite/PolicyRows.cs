using System.Globalization;

namespace Keylime.Benchmarks.Suite;

/// <summary>A runtime policy of a million digests in a program that has just started: how long until it judges, and what that takes.</summary>
internal static class PolicyRows
{
    private const int Digests = 1_000_000;
    private const int Runs = 5;

    public static async Task<IReadOnlyList<Row>> MeasureAsync()
    {
        var folder = Directory.CreateTempSubdirectory("policy-").FullName;
        try
        {
            var digests = await LargePolicies.PutAsync(folder, Digests);
            var runs = new List<ColdPolicies.Figures>();
            for (var i = 0; i < Runs; i++)
                runs.Add(await ColdPolicies.StartAsync(folder, digests));
            return
            [
                new("policy of 1,000,000 digests, cold, ready to judge", "ms", [.. runs.Select(static r => r.Ready)], MoreIsBetter: false) { Budget = 100, Note = "from asking for it to its first entry judged, in a process that has just started" },
                new("policy of 1,000,000 digests, memory", "MB", [.. runs.Select(static r => r.First.Private)], MoreIsBetter: false)
                { Budget = 64, Note = string.Create(CultureInfo.InvariantCulture, $"the process's own; beside it {Row.MedianOf([.. runs.Select(static r => r.First.Files)]):F0} MB of the mapped file, which all processes share and the system takes back") },
            ];
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
