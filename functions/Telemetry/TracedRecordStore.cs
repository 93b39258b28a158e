using Keylime.Functions.Storage;

namespace Keylime.Functions.Telemetry;

/// <summary>Records of one kind, with a span for each operation.</summary>
internal sealed class TracedRecordStore<T>(IRecordStore<T> inner, string system, string table) : IRecordStore<T>
    where T : class
{
    private readonly StoreSpans _spans = new(system, table);

    public Task<Stored<T>?> FindAsync(string key, CancellationToken cancel) =>
        _spans.RunAsync("find", (inner, key, cancel), static s => s.inner.FindAsync(s.key, s.cancel));

    public Task<bool> TryAddAsync(T record, CancellationToken cancel) =>
        _spans.RunAsync("add", (inner, record, cancel), static s => s.inner.TryAddAsync(s.record, s.cancel));

    public Task<bool> TryReplaceAsync(Stored<T> read, T next, CancellationToken cancel) =>
        _spans.RunAsync("replace", (inner, read, next, cancel), static s => s.inner.TryReplaceAsync(s.read, s.next, s.cancel));

    public Task<bool> TryDeleteAsync(Stored<T> read, CancellationToken cancel) =>
        _spans.RunAsync("delete", (inner, read, cancel), static s => s.inner.TryDeleteAsync(s.read, s.cancel));

    public Task<Page<T>> ListAsync(Continuation? after, int limit, CancellationToken cancel) =>
        _spans.RunAsync("list", (inner, after, limit, cancel), static s => s.inner.ListAsync(s.after, s.limit, s.cancel));

    public Task<Page<T>> ListOfAsync(string prefix, Continuation? after, int limit, CancellationToken cancel) =>
        _spans.RunAsync("list", (inner, prefix, after, limit, cancel), static s => s.inner.ListOfAsync(s.prefix, s.after, s.limit, s.cancel));

    public Task<Page<string>> ListKeysAsync(Continuation? after, int limit, CancellationToken cancel) =>
        _spans.RunAsync("list", (inner, after, limit, cancel), static s => s.inner.ListKeysAsync(s.after, s.limit, s.cancel));
}
