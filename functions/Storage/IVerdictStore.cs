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
    Task<VerdictRows> ListUpToAsync(AgentId node, long attestation, int limit, CancellationToken cancel);

    /// <summary>Deletes verdicts of a node. One that is not there any more is deleted.</summary>
    Task DeleteAsync(AgentId node, IReadOnlyList<long> attestations, CancellationToken cancel);
}

/// <summary>Verdicts of a node, newest first.</summary>
/// <param name="Next">The number up to which there may be more; <see langword="null"/> where there are none.</param>
internal sealed record VerdictRows(IReadOnlyList<VerdictRecord> Items, long? Next)
{
    /// <summary>What a query of so many rows found.</summary>
    /// <param name="last">The number of the last of them.</param>
    public static VerdictRows Of(IReadOnlyList<VerdictRecord> items, int rows, int limit, long last) => new(items, rows == limit && last > 0 ? last - 1 : null);
}
