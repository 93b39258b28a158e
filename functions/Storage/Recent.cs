namespace Keylime.Functions.Storage;

/// <summary>What a store was asked a few seconds ago, so that not every request asks it again.</summary>
/// <param name="kept">For how long; <see cref="Kept"/> if nothing is said.</param>
internal sealed class Recent<T>(TimeProvider clock, Func<CancellationToken, Task<T>> read, TimeSpan? kept = null)
    where T : class
{
    /// <summary>So long may another instance not know of a change.</summary>
    public static readonly TimeSpan Kept = TimeSpan.FromSeconds(5);

    private volatile Known? _known;

    public async ValueTask<T> GetAsync(CancellationToken cancel)
    {
        if (_known is { } known && clock.GetElapsedTime(known.Since) < (kept ?? Kept))
            return known.Value;
        var since = clock.GetTimestamp(); // before the store is asked: what changes meanwhile is old no later than it would be
        var value = await read(cancel);
        _known = new Known(value, since);
        return value;
    }

    public void Forget() => _known = null;

    private sealed record Known(T Value, long Since);
}
