using Keylime.Protocol;

namespace Keylime.Functions.Storage;

/// <summary>The verdicts: added once, never changed, and deleted by retention alone. Partition: the node's id; row: the attestation's number.</summary>
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

    /// <summary>The verdicts up to a number, newest first, of at most <paramref name="limit"/> rows. A row that cannot be read is reported and left out.</summary>
    Task<IReadOnlyList<VerdictRecord>> ListUpToAsync(AgentId node, long attestation, int limit, CancellationToken cancel);

    /// <summary>Deletes verdicts of a node. One that is not there any more is deleted.</summary>
    Task DeleteAsync(AgentId node, IReadOnlyList<long> attestations, CancellationToken cancel);
}
