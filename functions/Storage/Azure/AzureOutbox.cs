using Azure.Data.Tables;

namespace Keylime.Functions.Storage.Azure;

/// <summary>The outbox and its ledger in tables, a partition a channel.</summary>
internal sealed class AzureOutbox(AzureAccounts accounts, UnreadableRows unreadable) : IOutbox
{
    private const int CountPage = 1000; // as many as the service gives at once

    private readonly RowCodec<Delivery> _rows = new(StorageJson.Default.Delivery, d => d.Schema, Delivery.CurrentSchema, unreadable);

    public async Task<bool> TryAddAsync(Delivery delivery, CancellationToken cancel) => await Waiting(delivery.Channel).TryAddAsync(Entity(delivery, delivery.Place), cancel) is not null;

    public async Task<Page<Stored<Delivery>>> PendingAsync(string channel, Continuation? after, int limit, CancellationToken cancel)
    {
        var (rows, next) = await PageAsync(Waiting(channel), channel, after, limit, cancel);
        Stored<Delivery>[] items = [.. rows.Select(row => _rows.TryDecode(row.RowKey, AzureTable.Body(row)) is { } value ? new Stored<Delivery>(value, row.ETag.ToString()) : null).OfType<Stored<Delivery>>()];
        return new Page<Stored<Delivery>>(items, next) { Unreadable = rows.Count - items.Length };
    }

    public async Task<OutboxDepth> DepthAsync(string channel, CancellationToken cancel)
    {
        var (count, oldest, token) = (0L, (string?)null, (string?)null);
        do
        {
            var (rows, next) = await Waiting(channel).PageAsync(TableClient.CreateQueryFilter($"PartitionKey eq {channel}"), token, CountPage, cancel, "RowKey");
            oldest ??= rows is [var first, ..] ? first.RowKey : null;
            (count, token) = (count + rows.Count, next);
        }
        while (token is not null);

        return new OutboxDepth(count, Delivery.TimeOf(oldest));
    }

    public async Task<Stored<Delivery>?> TryReplaceAsync(Stored<Delivery> read, Delivery next, CancellationToken cancel) =>
        await Waiting(next.Channel).TryReplaceAsync(Entity(next, next.Place), read.ETag, cancel) is { } etag ? new Stored<Delivery>(next, etag) : null;

    public async Task<bool> TrySettleAsync(Stored<Delivery> read, Delivery settled, CancellationToken cancel)
    {
        await Ledger(settled.Channel).TryAddAsync(Entity(settled, settled.Key), cancel);
        return await TryDropAsync(read, cancel);
    }

    public Task<bool> TryDropAsync(Stored<Delivery> read, CancellationToken cancel) =>
        Waiting(read.Value.Channel).TryDeleteAsync(read.Value.Channel, read.Value.Place, read.ETag, cancel);

    public async Task<Page<Delivery>> LedgerAsync(string channel, Continuation? after, int limit, CancellationToken cancel)
    {
        var (rows, next) = await PageAsync(Ledger(channel), channel, after, limit, cancel);
        return _rows.ToPage(rows.ConvertAll(static row => (row.RowKey, AzureTable.Body(row))), next);
    }

    public async Task<int> DeleteBeforeAsync(string channel, DateTimeOffset before, int limit, CancellationToken cancel)
    {
        var (rows, _) = await PageAsync(Ledger(channel), channel, new Continuation(KeyRanges.EndOf(EventRecord.TimeKey(before) + "~")), limit, cancel);
        foreach (var row in rows)
            await Ledger(channel).TryDeleteAsync(channel, row.RowKey, row.ETag.ToString(), cancel);
        return rows.Count;
    }

    private static async Task<(List<TableEntity> Rows, Continuation? Next)> PageAsync(AzureTable table, string channel, Continuation? after, int limit, CancellationToken cancel)
    {
        var behind = after?.Key ?? "";
        var (rows, _) = await table.PageAsync(TableClient.CreateQueryFilter($"PartitionKey eq {channel} and RowKey gt {behind}"), null, limit + 1, cancel);
        return rows.Count > limit ? (rows.GetRange(0, limit), new Continuation(rows[limit - 1].RowKey)) : (rows, null);
    }

    private TableEntity Entity(Delivery delivery, string row) => AzureTable.Entity(delivery.Channel, row, _rows.Encode(delivery));

    private AzureTable Waiting(string channel) => accounts.For(channel).Table(AzureAccounts.Outbox);

    private AzureTable Ledger(string channel) => accounts.For(channel).Table(AzureAccounts.Deliveries);
}
