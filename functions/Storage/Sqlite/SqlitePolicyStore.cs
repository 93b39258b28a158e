namespace Keylime.Functions.Storage.Sqlite;

/// <summary>The policies' names in SQLite.</summary>
internal sealed class SqlitePolicyStore(SqliteDatabase database, ILogger<SqlitePolicyStore> log) : IPolicyStore
{
    private readonly SqliteRows<PolicyRecord> _rows = new(StorageJson.Default.PolicyRecord, p => p.Schema, PolicyRecord.CurrentSchema, log);

    public Task<Stored<PolicyRecord>?> FindAsync(string name, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        using var command = connection.Command("SELECT etag, body FROM policies WHERE name = $name", ("$name", name));
        return command.ReadRows() is [var row] ? new Stored<PolicyRecord>(_rows.Decode(name, row.Body), row.Key) : null;
    }, cancel);

    public Task<bool> TryAddAsync(PolicyRecord policy, CancellationToken cancel) => database.WriteAsync(
        connection => connection.TryInsert(
            "INSERT INTO policies (name, etag, body) VALUES ($name, $etag, $body)",
            ("$name", policy.Name), ("$etag", SqliteCommands.NewETag()), ("$body", _rows.Encode(policy))),
        cancel);

    public Task<bool> TryReplaceAsync(Stored<PolicyRecord> read, PolicyRecord next, CancellationToken cancel) => database.WriteAsync(
        connection => connection.Execute(
            "UPDATE policies SET etag = $etag, body = $body WHERE name = $name AND etag = $read",
            ("$name", next.Name), ("$etag", SqliteCommands.NewETag()), ("$body", _rows.Encode(next)), ("$read", read.ETag)) == 1,
        cancel);

    public Task<bool> TryDeleteAsync(Stored<PolicyRecord> read, CancellationToken cancel) => database.WriteAsync(
        connection => connection.Execute(
            "DELETE FROM policies WHERE name = $name AND etag = $read", ("$name", read.Value.Name), ("$read", read.ETag)) == 1,
        cancel);

    public Task<Page<PolicyRecord>> ListAsync(Continuation? after, int limit, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        using var command = connection.Command(
            "SELECT name, body FROM policies WHERE name > $after ORDER BY name LIMIT $limit",
            ("$after", after?.Key ?? ""), ("$limit", limit + 1));
        return _rows.ToPage(command.ReadRows(), limit);
    }, cancel);
}
