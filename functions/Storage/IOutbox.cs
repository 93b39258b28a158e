namespace Keylime.Functions.Storage;

/// <summary>
/// What is on its way to receivers, a partition a channel, oldest first; and the ledger of what is over, newest first. Of several at work on one
/// delivery, each change goes to one.
/// </summary>
internal interface IOutbox
{
    /// <returns><see langword="false"/> if that event waits in that channel already.</returns>
    Task<bool> TryAddAsync(Delivery delivery, CancellationToken cancel);

    /// <summary>A page of what waits, oldest first. A row that cannot be read is reported and left out.</summary>
    Task<Page<Stored<Delivery>>> PendingAsync(string channel, Continuation? after, int limit, CancellationToken cancel);

    /// <summary>How much waits, without reading the rows.</summary>
    Task<OutboxDepth> DepthAsync(string channel, CancellationToken cancel);

    /// <returns>What was stored; <see langword="null"/> if it has changed or gone since it was read.</returns>
    Task<Stored<Delivery>?> TryReplaceAsync(Stored<Delivery> read, Delivery next, CancellationToken cancel);

    /// <summary>
    /// Puts into the ledger what became of a delivery, and then takes it out. Killed between the two, where the store does not do both in one, it is in both, and
    /// will be sent again.
    /// </summary>
    /// <returns><see langword="false"/> if it has changed or gone since it was read.</returns>
    Task<bool> TrySettleAsync(Stored<Delivery> read, Delivery settled, CancellationToken cancel);

    /// <summary>Takes a delivery out, of a channel that is no more.</summary>
    /// <returns><see langword="false"/> if it has changed or gone since it was read.</returns>
    Task<bool> TryDropAsync(Stored<Delivery> read, CancellationToken cancel);

    /// <summary>Deletes lines of the ledger that are older, <paramref name="limit"/> at most.</summary>
    /// <returns>How many.</returns>
    Task<int> DeleteBeforeAsync(string channel, DateTimeOffset before, int limit, CancellationToken cancel);

    /// <summary>A page of the ledger, newest first. A row that cannot be read is reported and left out.</summary>
    Task<Page<Delivery>> LedgerAsync(string channel, Continuation? after, int limit, CancellationToken cancel);
}

/// <param name="Oldest">When the oldest event that waits happened.</param>
internal readonly record struct OutboxDepth(long Count, DateTimeOffset? Oldest);
