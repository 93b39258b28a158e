using Keylime.Protocol;

namespace Keylime.Functions.Storage;

/// <summary>The verdicts, append-only. Partition: the node's id; row: the attestation's number.</summary>
internal interface IVerdictStore
{
    /// <summary>Adds the one verdict on an attestation. This is what spends its nonce.</summary>
    /// <returns><see langword="false"/> if there is one already.</returns>
    Task<bool> TryAddAsync(VerdictRecord verdict, CancellationToken cancel);

    Task<VerdictRecord?> FindAsync(AgentId node, long attestation, CancellationToken cancel);

    /// <summary>A page, newest first. A row that cannot be read is logged and left out.</summary>
    Task<Page<VerdictRecord>> ListAsync(AgentId node, Continuation? after, int limit, CancellationToken cancel);

    /// <summary>The verdicts from a number on, oldest first, at most <paramref name="limit"/>.</summary>
    Task<IReadOnlyList<VerdictRecord>> ListSinceAsync(AgentId node, long attestation, int limit, CancellationToken cancel);
}
