using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Storage;

/// <summary>The machines under watch. Partition: two hex digits of the id's SHA-256; row: the id.</summary>
internal interface INodeStore
{
    Task<Stored<Node>?> FindAsync(AgentId id, CancellationToken cancel);

    /// <returns>What was stored; <see langword="null"/> if a node of that id is there already.</returns>
    Task<Stored<Node>?> TryAddAsync(Node node, CancellationToken cancel);

    /// <summary>Puts <paramref name="next"/> in the place of what <paramref name="read"/> found.</summary>
    /// <returns>What was stored; <see langword="null"/> if that has changed or gone since: read again, and decide again.</returns>
    Task<Stored<Node>?> TryReplaceAsync(Stored<Node> read, Node next, CancellationToken cancel);

    /// <summary>A page in the order of partition and id. A row that cannot be read is logged and left out. A page may have fewer than there are, and yet not be the last.</summary>
    Task<Page<Node>> ListAsync(NodeQuery query, Continuation? after, int limit, CancellationToken cancel);

    /// <summary>A page of all nodes, of each what its state follows from, and no row: to count a fleet. Rows that cannot be read count as what they were written as.</summary>
    Task<Page<NodeTimes>> ListTimesAsync(Continuation? after, int limit, CancellationToken cancel);
}

/// <summary>Which nodes are wanted. A member left out does not matter.</summary>
/// <param name="Moment">That <paramref name="State"/> is asked for.</param>
/// <param name="HasOpen">Of nodes with <see cref="Node.IsUnsettled"/>.</param>
/// <param name="OverdueSince">Nodes whose stored times of lateness or silence are after this, and not after now.</param>
internal sealed record NodeQuery(
    Moment Moment, NodeState? State = null, string? RuntimePolicy = null, string? BootPolicy = null, bool? HasOpen = null, DateTimeOffset? OverdueSince = null)
{
    public DateTimeOffset Now => Moment.Now;

    /// <summary>Stored times before this are what they were; later ones may have been put off by a gap. Stores, which know the stored times alone, leave the rest to <see cref="Matches"/>.</summary>
    public DateTimeOffset Certain => Moment.Gaps.Where(static g => g.Down).Select(static g => g.From).Append(Now).Min();

    /// <summary>The last word on the state.</summary>
    public bool Matches(Node node) => State is not { } state || Nodes.NodeStates.Of(node, Moment) == state;
}
