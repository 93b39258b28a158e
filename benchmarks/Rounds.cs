namespace Keylime.Benchmarks;

/// <summary>Measures things that are to be compared in turns, so that whatever else the machine does meets them all alike.</summary>
internal static class Rounds
{
    private const int Count = 9;
    private static readonly TimeSpan Length = TimeSpan.FromMilliseconds(400);

    /// <returns>Operations a second of each, one figure of each round.</returns>
    public static double[][] Measure(params (int Operations, Action Work)[] candidates)
    {
        foreach (var (_, work) in candidates)
            RunFor(TimeSpan.FromMilliseconds(300), work); // until it is compiled for speed

        var rates = candidates.Select(_ => new List<double>()).ToArray();
        for (var round = 0; round < Count; round++)
        {
            for (var i = 0; i < candidates.Length; i++)
                rates[i].Add(RunFor(Length, candidates[i].Work) * candidates[i].Operations);
        }

        return [.. rates.Select(static r => r.ToArray())];
    }

    private static double RunFor(TimeSpan length, Action work)
    {
        var start = TimeProvider.System.GetTimestamp();
        var runs = 0;
        do
        {
            work();
            runs++;
        }
        while (TimeProvider.System.GetElapsedTime(start) < length);
        return runs / TimeProvider.System.GetElapsedTime(start).TotalSeconds;
    }
}
