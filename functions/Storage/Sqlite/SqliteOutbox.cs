using Microsoft.Data.Sqlite;

namespace Keylime.Functions.Storage.Sqlite;

/// <summary>The outbox and its ledger in SQLite, a table each.</summary>
internal sealed class SqliteOutbox(SqliteDatabase database, UnreadableRows unreadable) : IOutbox
{
    private readonly RowCodec<Delivery> _rows = new(StorageJson.Default.Delivery, d => d.Schema, Delivery.CurrentSchema, unreadable);

    public Task<bool> TryAddAsync(Delivery delivery, CancellationToken cancel) => database.WriteAsync(
        connection => connection.TryInsert(
            "INSERT INTO outbox (channel, place, etag, body) VALUES ($channel, $place, $etag, $body)",
            ("$channel", delivery.Channel), ("$place", delivery.Place), ("$etag", SqliteCommands.NewETag()), ("$body", _rows.Encode(delivery))),
        cancel);

    public Task<Page<Stored<Delivery>>> PendingAsync(string channel, Continuation? after, int limit, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        using var command = connection.Command(
            "SELECT place || '|' || etag, body FROM outbox WHERE channel = $channel AND place > $after ORDER BY place LIMIT $limit",
            ("$channel", channel), ("$after", after?.Key ?? ""), ("$limit", limit + 1));
        var rows = command.ReadRows().ConvertAll(static row => (Place: row.Key[..row.Key.LastIndexOf('|')], ETag: row.Key[(row.Key.LastIndexOf('|') + 1)..], row.Body));
        var next = rows.Count > limit ? new Continuation(rows[limit - 1].Place) : (Continuation?)null;
        Stored<Delivery>[] items = [.. rows.Take(limit).Select(row => _rows.TryDecode(row.Place, row.Body) is { } value ? new Stored<Delivery>(value, row.ETag) : null).OfType<Stored<Delivery>>()];
        return new Page<Stored<Delivery>>(items, next) { Unreadable = Math.Min(rows.Count, limit) - items.Length };
    }, cancel);

    public Task<OutboxDepth> DepthAsync(string channel, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        using var command = connection.Command("SELECT count(*), min(place) FROM outbox WHERE channel = $channel", ("$channel", channel));
        using var reader = command.ExecuteReader();
        reader.Read();
        return new OutboxDepth(reader.GetInt64(0), reader.IsDBNull(1) ? null : Delivery.TimeOf(reader.GetString(1)));
    }, cancel);

    public Task<Stored<Delivery>?> TryReplaceAsync(Stored<Delivery> read, Delivery next, CancellationToken cancel) => database.WriteAsync(connection =>
    {
        var etag = SqliteCommands.NewETag();
        var changed = connection.Execute(
            "UPDATE outbox SET etag = $etag, body = $body WHERE channel = $channel AND place = $place AND etag = $read",
            ("$channel", next.Channel), ("$place", next.Place), ("$etag", etag), ("$body", _rows.Encode(next)), ("$read", read.ETag));
        return changed == 1 ? new Stored<Delivery>(next, etag) : null;
    }, cancel);

    public Task<bool> TrySettleAsync(Stored<Delivery> read, Delivery settled, CancellationToken cancel) => database.WriteAsync(connection =>
    {
        var body = _rows.Encode(settled);
        connection.Execute(
            "INSERT OR IGNORE INTO deliveries (channel, key, body) VALUES ($channel, $key, $body)",
            ("$channel", settled.Channel), ("$key", settled.Key), ("$body", body));
        return Drop(connection, read);
    }, cancel);

    public Task<bool> TryDropAsync(Stored<Delivery> read, CancellationToken cancel) => database.WriteAsync(connection => Drop(connection, read), cancel);

    public Task<Page<Delivery>> LedgerAsync(string channel, Continuation? after, int limit, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        using var command = connection.Command(
            "SELECT key, body FROM deliveries WHERE channel = $channel AND key > $after ORDER BY key LIMIT $limit",
            ("$channel", channel), ("$after", after?.Key ?? ""), ("$limit", limit + 1));
        return _rows.ToPage(command.ReadRows(), limit);
    }, cancel);

    public Task<int> DeleteBeforeAsync(string channel, DateTimeOffset before, int limit, CancellationToken cancel) => database.WriteAsync(
        connection => connection.Execute(
            "DELETE FROM deliveries WHERE channel = $channel AND key IN (SELECT key FROM deliveries WHERE channel = $channel AND key > $key ORDER BY key DESC LIMIT $limit)",
            ("$channel", channel), ("$key", KeyRanges.EndOf(EventRecord.TimeKey(before) + "~")), ("$limit", limit)),
        cancel);

    private static bool Drop(SqliteConnection connection, Stored<Delivery> read) => connection.Execute(
        "DELETE FROM outbox WHERE channel = $channel AND place = $place AND etag = $read",
        ("$channel", read.Value.Channel), ("$place", read.Value.Place), ("$read", read.ETag)) == 1;
}
