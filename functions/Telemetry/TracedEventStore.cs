using Keylime.Functions.Storage;

namespace Keylime.Functions.Telemetry;

/// <summary>The events, with a span for each operation.</summary>
internal sealed class TracedEventStore(IEventStore inner, string system) : IEventStore
{
    private readonly StoreSpans _spans = new(system, "events");

    public Task AddAsync(EventRecord happened, CancellationToken cancel) =>
        _spans.RunAsync("add", (inner, happened, cancel), static s => s.inner.AddAsync(s.happened, s.cancel));

    public Task<bool> IsToldAsync(EventRecord happened, CancellationToken cancel) =>
        _spans.RunAsync("find", (inner, happened, cancel), static s => s.inner.IsToldAsync(s.happened, s.cancel));

    public Task<Page<EventRecord>> ListAsync(EventQuery query, Continuation? after, int limit, CancellationToken cancel) =>
        _spans.RunAsync("list", (inner, query, after, limit, cancel), static s => s.inner.ListAsync(s.query, s.after, s.limit, s.cancel));

    public Task<int> DeleteBeforeAsync(DateTimeOffset before, int limit, CancellationToken cancel) =>
        _spans.RunAsync("delete", (inner, before, limit, cancel), static s => s.inner.DeleteBeforeAsync(s.before, s.limit, s.cancel));
}
