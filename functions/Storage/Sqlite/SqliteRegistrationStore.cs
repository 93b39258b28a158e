using Keylime.Protocol;

namespace Keylime.Functions.Storage.Sqlite;

/// <summary>The registrations in SQLite.</summary>
internal sealed class SqliteRegistrationStore(SqliteDatabase database, ILogger<SqliteRegistrationStore> log) : IRegistrationStore
{
    private readonly SqliteRows<Registration> _rows =
        new(StorageJson.Default.Registration, r => r.Schema, Registration.CurrentSchema, log);

    public Task<Stored<Registration>?> FindAsync(AgentId id, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        using var command = connection.Command("SELECT etag, body FROM registrations WHERE id = $id", ("$id", id.ToString()));
        return command.ReadRows() is [var row] ? new Stored<Registration>(_rows.Decode(id.ToString(), row.Body), row.Key) : null;
    }, cancel);

    public Task<bool> TryAddAsync(Registration registration, CancellationToken cancel) => database.WriteAsync(
        connection => connection.TryInsert(
            "INSERT INTO registrations (id, etag, body) VALUES ($id, $etag, $body)",
            ("$id", registration.Id.ToString()), ("$etag", SqliteCommands.NewETag()), ("$body", _rows.Encode(registration))),
        cancel);

    public Task<bool> TryReplaceAsync(Stored<Registration> read, Registration next, CancellationToken cancel) => database.WriteAsync(
        connection => connection.Execute(
            "UPDATE registrations SET etag = $etag, body = $body WHERE id = $id AND etag = $read",
            ("$id", next.Id.ToString()), ("$etag", SqliteCommands.NewETag()), ("$body", _rows.Encode(next)), ("$read", read.ETag)) == 1,
        cancel);

    public Task<bool> TryDeleteAsync(Stored<Registration> read, CancellationToken cancel) => database.WriteAsync(
        connection => connection.Execute(
            "DELETE FROM registrations WHERE id = $id AND etag = $read", ("$id", read.Value.Id.ToString()), ("$read", read.ETag)) == 1,
        cancel);

    public Task<Page<AgentId>> ListAsync(Continuation? after, int limit, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        using var command = connection.Command(
            "SELECT id, x'' FROM registrations WHERE id > $after ORDER BY id LIMIT $limit", ("$after", after?.Key ?? ""), ("$limit", limit + 1));
        var ids = command.ReadRows().ConvertAll(row => row.Key);
        var page = ids.Count > limit ? ids.GetRange(0, limit) : ids;
        return new Page<AgentId>([.. page.Select(id => AgentId.Parse(id))], ids.Count > limit ? new Continuation(page[^1]) : null);
    }, cancel);
}
