using Keylime.Functions.Storage;

namespace Keylime.Functions.Notifications;

/// <summary>The webhooks that there are, as this process knew them a few seconds ago: who tells an event need not ask the store each time.</summary>
internal sealed class Webhooks(IRecordStore<Webhook> store, TimeProvider clock)
{
    /// <summary>So long may another instance not know of a change.</summary>
    public static readonly TimeSpan Kept = TimeSpan.FromSeconds(5);

    private volatile Known? _known;

    public async ValueTask<IReadOnlyList<Webhook>> AllAsync(CancellationToken cancel)
    {
        if (_known is { } known && clock.GetElapsedTime(known.Since) < Kept)
            return known.All;
        var since = clock.GetTimestamp(); // before the store is asked: what changes meanwhile is old no later than it would be
        var all = await store.AllAsync(cancel);
        _known = new Known(all, since);
        return all;
    }

    /// <summary>One has changed here: the next to ask sees it.</summary>
    public void Forget() => _known = null;

    private sealed record Known(IReadOnlyList<Webhook> All, long Since);
}
