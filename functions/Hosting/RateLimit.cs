namespace Keylime.Functions.Hosting;

/// <summary>
/// So many requests a minute for one name. The names share a fixed table by their hash, so its memory never grows;
/// two names that meet in it share a limit, which happens rarely and to nobody by intent, as the hash is keyed anew at each start.
/// </summary>
internal sealed class RateLimit(int requests, TimeProvider clock)
{
    private const int Buckets = 1 << 16;
    private static readonly TimeSpan Window = TimeSpan.FromSeconds(60);

    private readonly (long Start, int Count)[] _buckets = new (long, int)[Buckets];
    private readonly Lock _lock = new();

    /// <returns>0 where the request may pass; else the seconds, at least 1, to wait.</returns>
    public int Wait(string name)
    {
        var now = clock.GetTimestamp();
        lock (_lock)
        {
            ref var bucket = ref _buckets[unchecked((uint)name.GetHashCode(StringComparison.Ordinal)) % Buckets];
            var elapsed = clock.GetElapsedTime(bucket.Start, now);
            if (bucket.Count == 0 || elapsed >= Window)
                (bucket, elapsed) = ((now, 0), TimeSpan.Zero);
            if (bucket.Count >= requests)
                return Math.Max(1, (int)Math.Ceiling((Window - elapsed).TotalSeconds));

            bucket.Count++;
            return 0;
        }
    }

    /// <summary>Forgets so many requests of a name.</summary>
    public void GiveBack(string name, int requests)
    {
        lock (_lock)
        {
            ref var bucket = ref _buckets[unchecked((uint)name.GetHashCode(StringComparison.Ordinal)) % Buckets];
            bucket.Count = Math.Max(bucket.Count > 0 ? 1 : 0, bucket.Count - requests); // 0 would start another window
        }
    }
}
