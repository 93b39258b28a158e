using Keylime.Functions.Storage;

namespace Keylime.Functions.Notifications;

/// <summary>The webhooks that there are, as this process knew them a few seconds ago: who tells an event need not ask the store each time.</summary>
internal sealed class Webhooks(IRecordStore<Webhook> store, TimeProvider clock)
{
    private readonly Recent<IReadOnlyList<Webhook>> _all = new(clock, store.AllAsync);

    public ValueTask<IReadOnlyList<Webhook>> AllAsync(CancellationToken cancel) => _all.GetAsync(cancel);

    /// <summary>One has changed here: the next to ask sees it.</summary>
    public void Forget() => _all.Forget();
}
