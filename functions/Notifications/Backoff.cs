using System.Security.Cryptography;

namespace Keylime.Functions.Notifications;

/// <summary>When what failed is tried again: after pauses that double, each a little longer or shorter by chance, for three days in all.</summary>
internal static class Backoff
{
    /// <summary>From when an event was queued to when it is given up.</summary>
    public static readonly TimeSpan GiveUpAfter = TimeSpan.FromDays(3);

    /// <summary>However long a receiver asks us to wait.</summary>
    public static readonly TimeSpan LongestRetryAfter = TimeSpan.FromHours(1);

    private static readonly TimeSpan First = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Longest = TimeSpan.FromHours(4);
    private const int Jitter = 20; // percent, either way

    /// <param name="failures">1 or more.</param>
    public static TimeSpan After(int failures, TimeSpan? asked = null)
    {
        var pause = First * Math.Pow(2, Math.Min(failures - 1, 20));
        pause = (pause < Longest ? pause : Longest) * (100 + RandomNumberGenerator.GetInt32(-Jitter, Jitter + 1)) / 100;
        var wait = asked < LongestRetryAfter ? asked.Value : asked is null ? TimeSpan.Zero : LongestRetryAfter;
        return wait > pause ? wait : pause;
    }
}
