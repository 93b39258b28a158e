namespace Keylime.Functions.Storage.Sqlite;

/// <summary>Records of one kind in SQLite, a table each.</summary>
internal sealed class SqliteRecordStore<T>(SqliteDatabase database, RecordKind<T> kind, UnreadableRows unreadable) : IRecordStore<T>
    where T : class
{
    private readonly RowCodec<T> _rows = new(kind.Type, kind.Schema, kind.Newest, unreadable, kind.Upgrade);
    private readonly string _table = kind.Name;
    private readonly string _key = kind.KeyColumn;

    public Task<Stored<T>?> FindAsync(string key, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        using var command = connection.Command($"SELECT etag, body FROM {_table} WHERE {_key} = $key", ("$key", key));
        return command.ReadRows() is [var row] ? new Stored<T>(_rows.Decode(key, row.Body), row.Key) : null;
    }, cancel);

    public Task<bool> TryAddAsync(T record, CancellationToken cancel) => database.WriteAsync(
        connection => connection.TryInsert(
            $"INSERT INTO {_table} ({_key}, etag, body) VALUES ($key, $etag, $body)",
            ("$key", kind.Key(record)), ("$etag", SqliteCommands.NewETag()), ("$body", _rows.Encode(record))),
        cancel);

    public Task<bool> TryReplaceAsync(Stored<T> read, T next, CancellationToken cancel) => database.WriteAsync(
        connection => connection.Execute(
            $"UPDATE {_table} SET etag = $etag, body = $body WHERE {_key} = $key AND etag = $read",
            ("$key", kind.Key(next)), ("$etag", SqliteCommands.NewETag()), ("$body", _rows.Encode(next)), ("$read", read.ETag)) == 1,
        cancel);

    public Task<bool> TryDeleteAsync(Stored<T> read, CancellationToken cancel) => database.WriteAsync(
        connection => connection.Execute(
            $"DELETE FROM {_table} WHERE {_key} = $key AND etag = $read", ("$key", kind.Key(read.Value)), ("$read", read.ETag)) == 1,
        cancel);

    public Task<Page<T>> ListAsync(Continuation? after, int limit, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        using var command = connection.Command(
            $"SELECT {_key}, body FROM {_table} WHERE {_key} > $after ORDER BY {_key} LIMIT $limit", ("$after", after?.Key ?? ""), ("$limit", limit + 1));
        return _rows.ToPage(command.ReadRows(), limit);
    }, cancel);

    public Task<Page<T>> ListOfAsync(string prefix, Continuation? after, int limit, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        using var command = connection.Command(
            $"SELECT {_key}, body FROM {_table} WHERE {_key} > $after AND {_key} < $end ORDER BY {_key} LIMIT $limit",
            ("$after", after is { Key: var key } && key.StartsWith(prefix, StringComparison.Ordinal) ? key : prefix), ("$end", KeyRanges.EndOf(prefix)), ("$limit", limit + 1));
        return _rows.ToPage(command.ReadRows(), limit);
    }, cancel);

    public Task<Page<string>> ListKeysAsync(Continuation? after, int limit, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        using var command = connection.Command(
            $"SELECT {_key}, x'' FROM {_table} WHERE {_key} > $after ORDER BY {_key} LIMIT $limit", ("$after", after?.Key ?? ""), ("$limit", limit + 1));
        var keys = command.ReadRows().ConvertAll(row => row.Key);
        return keys.Count > limit ? new Page<string>(keys.GetRange(0, limit), new Continuation(keys[limit - 1])) : new Page<string>(keys, null);
    }, cancel);
}
