using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Telemetry;

/// <summary>The nodes, with a span for each operation.</summary>
internal sealed class TracedNodeStore(INodeStore inner, string system) : INodeStore
{
    private readonly StoreSpans _spans = new(system, "nodes");

    public Task<Stored<Node>?> FindAsync(AgentId id, CancellationToken cancel) =>
        _spans.RunAsync("find", (inner, id, cancel), static s => s.inner.FindAsync(s.id, s.cancel));

    public Task<Stored<Node>?> TryAddAsync(Node node, CancellationToken cancel) =>
        _spans.RunAsync("add", (inner, node, cancel), static s => s.inner.TryAddAsync(s.node, s.cancel));

    public Task<Stored<Node>?> TryReplaceAsync(Stored<Node> read, Node next, CancellationToken cancel) =>
        _spans.RunAsync("replace", (inner, read, next, cancel), static s => s.inner.TryReplaceAsync(s.read, s.next, s.cancel));

    public Task<Page<Node>> ListAsync(NodeQuery query, Continuation? after, int limit, CancellationToken cancel) =>
        _spans.RunAsync("list", (inner, query, after, limit, cancel), static s => s.inner.ListAsync(s.query, s.after, s.limit, s.cancel));

    public Task<Page<NodeTimes>> ListTimesAsync(Continuation? after, int limit, CancellationToken cancel) =>
        _spans.RunAsync("list", (inner, after, limit, cancel), static s => s.inner.ListTimesAsync(s.after, s.limit, s.cancel));
}
