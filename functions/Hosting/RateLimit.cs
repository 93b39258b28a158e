namespace Keylime.Functions.Hosting;

/// <summary>
/// So many requests a minute for one name. The names share a table of fixed size by their hashes, so its memory never grows. Each name has a place in every row
/// and its smallest count there holds (a count-min sketch): a name suffers for others only where it meets them in each row, which nobody can arrange, as the
/// hash is keyed anew at each start.
/// </summary>
internal sealed class RateLimit(int requests, TimeProvider clock)
{
    private const int Rows = 4;
    private const int Places = 1 << 15;
    private static readonly TimeSpan Window = TimeSpan.FromSeconds(60);

    private readonly (long Start, int Count)[] _counts = new (long, int)[Rows * Places];
    private readonly Lock _lock = new();

    /// <returns>0 where the request may pass; else the seconds, at least 1, to wait.</returns>
    public int Wait(string name)
    {
        var now = clock.GetTimestamp();
        var hash = name.GetHashCode(StringComparison.Ordinal);
        lock (_lock)
        {
            var (least, wait) = (int.MaxValue, Window);
            for (var row = 0; row < Rows; row++)
            {
                ref var place = ref At(hash, row);
                var elapsed = clock.GetElapsedTime(place.Start, now);
                if (place.Count == 0 || elapsed >= Window)
                    (place, elapsed) = ((now, 0), TimeSpan.Zero);
                least = Math.Min(least, place.Count);
                wait = Window - elapsed < wait ? Window - elapsed : wait;
            }

            if (least >= requests)
                return Math.Max(1, (int)Math.Ceiling(wait.TotalSeconds));

            for (var row = 0; row < Rows; row++)
                At(hash, row).Count++;
            return 0;
        }
    }

    /// <summary>Forgets so many requests of a name.</summary>
    public void GiveBack(string name, int requests)
    {
        var hash = name.GetHashCode(StringComparison.Ordinal);
        lock (_lock)
        {
            for (var row = 0; row < Rows; row++)
            {
                ref var place = ref At(hash, row);
                place.Count = Math.Max(place.Count > 0 ? 1 : 0, place.Count - requests); // 0 would start another window
            }
        }
    }

    private ref (long Start, int Count) At(int hash, int row) => ref _counts[row * Places + (int)(unchecked((uint)HashCode.Combine(hash, row)) % Places)];
}
