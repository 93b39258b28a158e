using Keylime.Protocol;

namespace Keylime.Functions.Storage.Sqlite;

/// <summary>The events in SQLite.</summary>
internal sealed class SqliteEventStore(SqliteDatabase database, ILogger<SqliteEventStore> log) : IEventStore
{
    private readonly SqliteRows<NodeEvent> _rows = new(StorageJson.Default.NodeEvent, e => e.Schema, NodeEvent.CurrentSchema, log);

    public Task AddAsync(NodeEvent happened, CancellationToken cancel) => database.WriteAsync(
        connection => connection.TryInsert(
            "INSERT INTO events (node, key, body) VALUES ($node, $key, $body)",
            ("$node", happened.Node.ToString()), ("$key", happened.Key), ("$body", _rows.Encode(happened))),
        cancel);

    public Task<Page<NodeEvent>> ListAsync(AgentId node, Continuation? after, int limit, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        using var command = connection.Command(
            "SELECT key, body FROM events WHERE node = $node AND key > $after ORDER BY key LIMIT $limit",
            ("$node", node.ToString()), ("$after", after?.Key ?? ""), ("$limit", limit + 1));
        return _rows.ToPage(command.ReadRows(), limit);
    }, cancel);
}
