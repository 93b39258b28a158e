namespace Keylime.Agent;

/// <summary>
/// How long to wait after a failure: exponential, with full jitter, so that a fleet that failed together does not come back together.
/// </summary>
internal sealed class Backoff(TimeSpan initial, TimeSpan most, Random random)
{
    // A service may be down for long; one that asks for more than an hour is not believed.
    private static readonly TimeSpan LongestRetryAfter = TimeSpan.FromHours(1);

    private int _failures;

    public void Reset() => _failures = 0;

    /// <summary>The next pause: between a half and the whole of the doubled one, or what the service asked for and a little more.</summary>
    public TimeSpan Next(TimeSpan? retryAfter)
    {
        var exponential = initial * Math.Pow(2, Math.Min(_failures++, 20));
        var pause = exponential < most ? exponential : most;
        var jittered = pause * (0.5 + random.NextDouble() / 2);
        if (retryAfter is not { } asked)
            return jittered;

        var bounded = asked < LongestRetryAfter ? asked : LongestRetryAfter;
        return bounded + TimeSpan.FromMilliseconds(random.Next(0, 1000));
    }
}
