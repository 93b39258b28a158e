using Keylime.Functions.Storage;

namespace Keylime.Functions.Verifier;

/// <summary>
/// Brings a node's row up to its history. A verdict is first put into the history, which spends the nonce; then its events are told;
/// then the row follows. What an operator changes is written with the event that tells of it, which is told then. This process may die between
/// any two of these: the next one to look at the node does the rest.
/// </summary>
internal sealed class Settlement(INodeStore nodes, IVerdictStore verdicts, IEventStore events, Heartbeat heartbeat)
{
    private const int MaxTries = 10;
    private const int MaxPending = 64;

    /// <summary>Replaces a row together with what is to be told of it, and tells it.</summary>
    /// <returns>The row as it is now; <see langword="null"/> if it has changed since it was read, and nothing was done.</returns>
    public async Task<Stored<Node>?> ChangeAsync(Stored<Node> read, Node next, EventRecord happened, CancellationToken cancel) =>
        await nodes.TryReplaceAsync(read, WithUntold(next, happened), cancel) is { } changed ? await SettleAsync(changed, null, CancellationToken.None) : null;

    /// <summary>Adds a row together with what is to be told of it, and tells it.</summary>
    /// <returns>The row as it is now; <see langword="null"/> if there is one.</returns>
    public async Task<Stored<Node>?> AddAsync(Node node, EventRecord happened, CancellationToken cancel) =>
        await nodes.TryAddAsync(WithUntold(node, happened), cancel) is { } added ? await SettleAsync(added, null, CancellationToken.None) : null;

    /// <param name="known">The verdict that was just added, where there is one: it saves the look into the history.</param>
    /// <param name="then">What else becomes of the row, in the same write, once it is up to its history.</param>
    /// <returns>The row as it is now.</returns>
    public async Task<Stored<Node>> SettleAsync(Stored<Node> read, VerdictRecord? known, CancellationToken cancel, Func<Node, Node>? then = null)
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
            foreach (var happened in next.Untold ?? [])
                await events.AddAsync(happened, cancel);
            if (next.Untold is not null)
                next = next with { Untold = null };
            var moment = pending.Count > 0 || next.Untold != read.Value.Untold ? await heartbeat.NowAsync(cancel) : null;
            foreach (var verdict in pending)
            {
                foreach (var happened in Standing.Events(next, verdict, moment!.Gaps))
                    await events.AddAsync(happened, cancel);
                next = Standing.Apply(next, verdict);
            }

            if (then is not null)
                next = then(next);
            if (ReferenceEquals(next, read.Value))
                return read;

            // What came into the row late, or counts again, may be overdue since a time that the sweep has passed.
            foreach (var happened in moment is null ? [] : Standing.Overdue(next, moment))
                await events.AddAsync(happened, cancel);
            if (await nodes.TryReplaceAsync(read, next, cancel) is { } stored)
                return stored;

            read = await nodes.FindAsync(read.Value.Id, cancel)
                ?? throw new StorageUnavailableException($"The row of {read.Value.Id} has gone.");
        }

        throw new StorageUnavailableException($"The row of {read.Value.Id} changed {MaxTries} times while a verdict was to be written.");
    }

    private static Node WithUntold(Node node, EventRecord happened) => node with { Untold = [.. node.Untold ?? [], happened] };
}
