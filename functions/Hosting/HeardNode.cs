using Keylime.Functions.Nodes;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Hosting;

/// <summary>
/// A machine that has come, and whose evidence is not judged yet because this service has too much to do: until it is, it is neither late nor silent. What moves is nothing but the times that have not
/// come: what is known of the node is what it was. Where somebody else changed the row meanwhile, the node is alive by that.
/// </summary>
internal sealed class HeardNode(INodeStore nodes, Stored<Node> node, TimeProvider clock)
{
    // From when it would have been late or silent. Machines that come and never finish are not put off for ever.
    private static readonly TimeSpan Most = TimeSpan.FromHours(1);
    private static readonly TimeSpan LeastBetween = TimeSpan.FromSeconds(0.5);

    /// <summary>The row as it is now, as far as it was written here.</summary>
    public Stored<Node> Row { get; private set; } = node;

    /// <summary>It may take as long as after a verdict, from that time on.</summary>
    /// <returns>False where there is nothing to put off, or the row was changed by somebody else.</returns>
    /// <exception cref="StorageUnavailableException">The row cannot be written.</exception>
    public async Task<bool> PutOffAsync(DateTimeOffset from, CancellationToken cancel)
    {
        var (node, now) = (Row.Value, clock.GetUtcNow());
        if (!node.IsPassed || node.Last is not { } last)
            return false;
        var next = node with
        {
            LateAt = Later(node.LateAt, NodeStates.LateAt(from, node.IntervalSeconds), NodeStates.LateAt(last.At, node.IntervalSeconds) + Most),
            SilentAt = Later(node.SilentAt, NodeStates.SilentAt(from, node.IntervalSeconds), NodeStates.SilentAt(last.At, node.IntervalSeconds) + Most),
        };
        if (next.LateAt == node.LateAt && next.SilentAt == node.SilentAt)
            return node.SilentAt > now; // later, perhaps
        if (await nodes.TryReplaceAsync(Row, next, cancel) is not { } written)
            return false;
        Row = written;
        return true;

        DateTimeOffset? Later(DateTimeOffset? stored, DateTimeOffset then, DateTimeOffset most)
        {
            var to = then < most ? then : most;
            return stored > now && stored < to ? to : stored;
        }
    }

    /// <summary>Puts it off again and again, before it can be late, until this is over.</summary>
    public async Task KeepAsync(CancellationToken over)
    {
        var half = TimeSpan.FromSeconds(Row.Value.IntervalSeconds / 2.0);
        try
        {
            do
                await Task.Delay(half > LeastBetween ? half : LeastBetween, clock, over);
            while (await PutOffAsync(clock.GetUtcNow(), over));
        }
        catch (Exception e) when (e is OperationCanceledException or StorageUnavailableException)
        {
            // Over; or the request itself will meet the store that does not answer.
        }
    }
}
