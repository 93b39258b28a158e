namespace Keylime.Functions.Notifications;

/// <summary>What one look through a channel found; several subjects are at it at once.</summary>
internal sealed class Look
{
    private long _next = long.MaxValue; // ticks of UTC
    private volatile bool _delivered;

    /// <summary>When something that stays behind may go; <see langword="null"/> if nothing does.</summary>
    public DateTimeOffset? Next => Volatile.Read(ref _next) is var ticks && ticks == long.MaxValue ? null : new DateTimeOffset(ticks, TimeSpan.Zero);

    /// <summary>Something is over: what another process found waiting behind it may go now.</summary>
    public bool Delivered => _delivered;

    public void Went() => _delivered = true;

    /// <returns><see langword="false"/>: the subject stops here.</returns>
    public bool Later(DateTimeOffset moment)
    {
        for (var seen = Volatile.Read(ref _next); moment.UtcTicks < seen;)
        {
            var there = Interlocked.CompareExchange(ref _next, moment.UtcTicks, seen);
            if (there == seen)
                break;
            seen = there;
        }

        return false;
    }
}
