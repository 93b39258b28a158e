using Keylime.Functions.Storage;

namespace Keylime.Functions.Telemetry;

/// <summary>The outbox and its ledger, with a span for each operation.</summary>
internal sealed class TracedOutbox(IOutbox inner, string system) : IOutbox
{
    private readonly StoreSpans _waiting = new(system, "outbox");
    private readonly StoreSpans _ledger = new(system, "deliveries");

    public Task<bool> TryAddAsync(Delivery delivery, CancellationToken cancel) =>
        _waiting.RunAsync("add", (inner, delivery, cancel), static s => s.inner.TryAddAsync(s.delivery, s.cancel));

    public Task<Page<Stored<Delivery>>> PendingAsync(string channel, Continuation? after, int limit, CancellationToken cancel) =>
        _waiting.RunAsync("list", (inner, channel, after, limit, cancel), static s => s.inner.PendingAsync(s.channel, s.after, s.limit, s.cancel));

    public Task<OutboxDepth> DepthAsync(string channel, CancellationToken cancel) =>
        _waiting.RunAsync("count", (inner, channel, cancel), static s => s.inner.DepthAsync(s.channel, s.cancel));

    public Task<Stored<Delivery>?> TryReplaceAsync(Stored<Delivery> read, Delivery next, CancellationToken cancel) =>
        _waiting.RunAsync("replace", (inner, read, next, cancel), static s => s.inner.TryReplaceAsync(s.read, s.next, s.cancel));

    public Task<bool> TrySettleAsync(Stored<Delivery> read, Delivery settled, CancellationToken cancel) =>
        _ledger.RunAsync("add", (inner, read, settled, cancel), static s => s.inner.TrySettleAsync(s.read, s.settled, s.cancel));

    public Task<bool> TryDropAsync(Stored<Delivery> read, CancellationToken cancel) =>
        _waiting.RunAsync("delete", (inner, read, cancel), static s => s.inner.TryDropAsync(s.read, s.cancel));

    public Task<int> DeleteBeforeAsync(string channel, DateTimeOffset before, int limit, CancellationToken cancel) =>
        _ledger.RunAsync("delete", (inner, channel, before, limit, cancel), static s => s.inner.DeleteBeforeAsync(s.channel, s.before, s.limit, s.cancel));

    public Task<Page<Delivery>> LedgerAsync(string channel, Continuation? after, int limit, CancellationToken cancel) =>
        _ledger.RunAsync("list", (inner, channel, after, limit, cancel), static s => s.inner.LedgerAsync(s.channel, s.after, s.limit, s.cancel));
}
