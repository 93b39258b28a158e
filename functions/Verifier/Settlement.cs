using Keylime.Functions.Storage;

namespace Keylime.Functions.Verifier;

/// <summary>
/// Brings a node's row up to its history. A verdict is first put into the history, which spends the nonce; then its events are told;
/// then the row follows. This process may die between any two of these: the next one to look at the node does the rest.
/// </summary>
internal sealed class Settlement(INodeStore nodes, IVerdictStore verdicts, IEventStore events)
{
    private const int MaxTries = 10;
    private const int MaxPending = 64;

    /// <param name="known">The verdict that was just added, where there is one: it saves the look into the history.</param>
    /// <returns>The row as it is now.</returns>
    public async Task<Stored<Node>> SettleAsync(Stored<Node> read, VerdictRecord? known, CancellationToken cancel)
    {
        for (var tries = 0; tries < MaxTries; tries++)
        {
            var pending = (read.Value.Open, known) switch
            {
                (null, null) => [],
                // Somebody else has brought it in, or the node was retired meanwhile; one that was enrolled anew has nothing to do with it.
                (null, not null) => known.RequestedAt >= (read.Value.ReactivatedAt ?? read.Value.EnrolledAt) ? [known] : [],
                ({ } open, not null) when open.UnsettledFrom == known.Message.Attestation && open.Number == known.Message.Attestation => [known],
                ({ } open, _) => await verdicts.ListSinceAsync(read.Value.Id, open.UnsettledFrom, MaxPending, cancel),
            };
            var next = read.Value;
            foreach (var verdict in pending)
            {
                foreach (var happened in Standing.Events(next, verdict))
                    await events.AddAsync(happened, cancel);
                next = Standing.Apply(next, verdict);
            }

            if (ReferenceEquals(next, read.Value))
                return read;
            if (await nodes.TryReplaceAsync(read, next, cancel) is { } stored)
                return stored;

            read = await nodes.FindAsync(read.Value.Id, cancel)
                ?? throw new StorageUnavailableException($"The row of {read.Value.Id} has gone.");
        }

        throw new StorageUnavailableException($"The row of {read.Value.Id} changed {MaxTries} times while a verdict was to be written.");
    }
}
