namespace Keylime.Functions.Hosting;

/// <summary>
/// So many requests a minute for one name. The names share a table of fixed size by their hashes, so its memory never grows. Each name has a place in every row
/// and its smallest count there holds (a count-min sketch): a name suffers for others only where it meets them in each row, which nobody can arrange, as the
/// hash is keyed anew at each start. One minute holds for all of them: rows that began theirs at different times would each let a name through again.
/// </summary>
internal sealed class RateLimit(int requests, TimeProvider clock)
{
    private const int Rows = 4;
    private const int Places = 1 << 15;
    private static readonly TimeSpan Window = TimeSpan.FromSeconds(60);

    private readonly int[] _counts = new int[Rows * Places];
    private readonly Lock _lock = new();
    private long? _start; // of the minute that is counted

    /// <returns>0 where the request may pass; else the seconds, at least 1, to wait.</returns>
    public int Wait(string name)
    {
        Span<int> places = stackalloc int[Rows];
        Find(name, places);
        lock (_lock)
        {
            var left = Window - Elapsed();
            var least = int.MaxValue;
            foreach (var place in places)
                least = Math.Min(least, _counts[place]);
            if (least >= requests)
                return Math.Max(1, (int)Math.Ceiling(left.TotalSeconds));

            foreach (var place in places)
                _counts[place]++;
            return 0;
        }
    }

    /// <summary>Forgets so many requests of a name.</summary>
    public void GiveBack(string name, int requests)
    {
        Span<int> places = stackalloc int[Rows];
        Find(name, places);
        lock (_lock)
        {
            Elapsed();
            foreach (var place in places)
                _counts[place] = Math.Max(0, _counts[place] - requests);
        }
    }

    // A minute begins with the first request after the last one ended.
    private TimeSpan Elapsed()
    {
        var now = clock.GetTimestamp();
        if (_start is { } start && clock.GetElapsedTime(start, now) is var elapsed && elapsed < Window)
            return elapsed;
        Array.Clear(_counts);
        _start = now;
        return TimeSpan.Zero;
    }

    private static void Find(string name, Span<int> places)
    {
        var hash = name.GetHashCode(StringComparison.Ordinal);
        for (var row = 0; row < places.Length; row++)
            places[row] = row * Places + (int)(unchecked((uint)HashCode.Combine(hash, row)) % Places);
    }
}
