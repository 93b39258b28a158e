using Keylime.Protocol;

namespace Keylime.Functions.Storage;

/// <summary>The events. Partition: the node's id; row: the event's key, newest first.</summary>
internal interface IEventStore
{
    /// <summary>Adds the event, unless one of its key is there: telling it twice does no harm.</summary>
    Task AddAsync(NodeEvent happened, CancellationToken cancel);

    /// <summary>A page, newest first. A row that cannot be read is logged and left out.</summary>
    Task<Page<NodeEvent>> ListAsync(AgentId node, Continuation? after, int limit, CancellationToken cancel);
}
