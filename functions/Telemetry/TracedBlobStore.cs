using Keylime.Functions.Storage;

namespace Keylime.Functions.Telemetry;

/// <summary>The large objects, with a span for each operation.</summary>
internal sealed class TracedBlobStore(IBlobStore inner, string system) : IBlobStore
{
    private readonly StoreSpans _spans = new(system, "blobs");

    public Task<string> PutAsync(ReadOnlyMemory<byte> content, CancellationToken cancel) =>
        _spans.RunAsync("add", (inner, content, cancel), static s => s.inner.PutAsync(s.content, s.cancel));

    public Task<ReadOnlyMemory<byte>?> FindAsync(string digest, CancellationToken cancel) =>
        _spans.RunAsync("find", (inner, digest, cancel), static s => s.inner.FindAsync(s.digest, s.cancel));

    public Task<ReadOnlyMemory<byte>?> MapAsync(string digest, CancellationToken cancel) =>
        _spans.RunAsync("map", (inner, digest, cancel), static s => s.inner.MapAsync(s.digest, s.cancel));
}
