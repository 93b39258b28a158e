namespace Keylime.Functions.Storage.Sqlite;

/// <summary>The events in SQLite.</summary>
internal sealed class SqliteEventStore(SqliteDatabase database, UnreadableRows unreadable) : IEventStore
{
    private readonly RowCodec<EventRecord> _rows = new(StorageJson.Default.EventRecord, e => e.Schema, EventRecord.CurrentSchema, unreadable);

    public Task AddAsync(EventRecord happened, CancellationToken cancel) => database.WriteAsync(
        connection => connection.TryInsert(
            "INSERT INTO events (node, key, body) VALUES ($node, $key, $body)",
            ("$node", happened.Subject), ("$key", happened.Key), ("$body", _rows.Encode(happened))),
        cancel);

    public Task<int> DeleteBeforeAsync(DateTimeOffset before, int limit, CancellationToken cancel) => database.WriteAsync(
        connection => connection.Execute(
            "DELETE FROM events WHERE (node, key) IN (SELECT node, key FROM events WHERE key > $key ORDER BY key DESC LIMIT $limit)",
            ("$key", EventRecord.TimeKey(before) + "~"), ("$limit", limit)),
        cancel);

    public Task<bool> IsToldAsync(EventRecord happened, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        using var command = connection.Command("SELECT count(*) FROM events WHERE node = $node AND key = $key", ("$node", happened.Subject), ("$key", happened.Key));
        return (long)(command.ExecuteScalar() ?? 0L) > 0;
    }, cancel);

    public Task<Page<EventRecord>> ListAsync(EventQuery query, Continuation? after, int limit, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        // A page ends at a key and a subject: two subjects may have an event of one key.
        var (key, subject) = after is { Key: var text } && text.IndexOf('|') is > 0 and var bar ? (text[..bar], text[(bar + 1)..]) : (query.After, "");
        var types = query.Types is { Count: > 0 } wanted ? "|" + string.Join('|', wanted) + "|" : null;
        using var command = connection.Command($"""
            SELECT key || '|' || node, body FROM events
            WHERE (key, node) > ($key, $node) AND key < $before AND ($subject IS NULL OR node = $subject)
                AND ($types IS NULL OR instr($types, '|' || substr(key, {EventRecord.TimeDigits + 2}, instr(substr(key, {EventRecord.TimeDigits + 2}), '-') - 1) || '|') > 0)
            ORDER BY key, node LIMIT $limit
            """,
            ("$key", key), ("$node", subject), ("$before", query.Before), ("$subject", query.Subject), ("$types", types), ("$limit", limit + 1));
        return _rows.ToPage(command.ReadRows(), limit);
    }, cancel);
}
