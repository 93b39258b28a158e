using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Telemetry;

/// <summary>The verdicts, with a span for each operation.</summary>
internal sealed class TracedVerdictStore(IVerdictStore inner, string system) : IVerdictStore
{
    private readonly StoreSpans _spans = new(system, "verdicts");

    public Task<bool> TryAddAsync(VerdictRecord verdict, CancellationToken cancel) =>
        _spans.RunAsync("add", (inner, verdict, cancel), static s => s.inner.TryAddAsync(s.verdict, s.cancel));

    public Task<VerdictRecord?> FindAsync(AgentId node, long attestation, CancellationToken cancel) =>
        _spans.RunAsync("find", (inner, node, attestation, cancel), static s => s.inner.FindAsync(s.node, s.attestation, s.cancel));

    public Task<Page<VerdictRecord>> ListAsync(AgentId node, Continuation? after, int limit, CancellationToken cancel) =>
        _spans.RunAsync("list", (inner, node, after, limit, cancel), static s => s.inner.ListAsync(s.node, s.after, s.limit, s.cancel));

    public Task<IReadOnlyList<VerdictRecord>> ListSinceAsync(AgentId node, long attestation, int limit, CancellationToken cancel) =>
        _spans.RunAsync("list", (inner, node, attestation, limit, cancel), static s => s.inner.ListSinceAsync(s.node, s.attestation, s.limit, s.cancel));

    public Task<VerdictRows> ListUpToAsync(AgentId node, long attestation, int limit, CancellationToken cancel) =>
        _spans.RunAsync("list", (inner, node, attestation, limit, cancel), static s => s.inner.ListUpToAsync(s.node, s.attestation, s.limit, s.cancel));

    public Task DeleteAsync(AgentId node, IReadOnlyList<long> attestations, CancellationToken cancel) =>
        _spans.RunAsync("delete", (inner, node, attestations, cancel), static s => s.inner.DeleteAsync(s.node, s.attestations, s.cancel));
}
