using Azure.Data.Tables;

namespace Keylime.Functions.Storage.Azure;

/// <summary>
/// The events in tables: each in the partition of its subject, and once more in one of sixteen partitions by time, so that the whole fleet's can be
/// read in order, and no partition takes all the writes.
/// </summary>
internal sealed class AzureEventStore(AzureAccounts accounts, UnreadableRows unreadable) : IEventStore
{
    private const int Shards = 16;

    private readonly RowCodec<EventRecord> _rows = new(StorageJson.Default.EventRecord, e => e.Schema, EventRecord.CurrentSchema, unreadable);

    public async Task AddAsync(EventRecord happened, CancellationToken cancel)
    {
        var body = _rows.Encode(happened);
        var shard = "~" + Partitions.Of(happened.Subject)[..1];
        await Table(shard).TryAddAsync(Entity(shard, $"{happened.Key}~{happened.Subject}", happened, body), cancel);
        await Table(happened.Subject).TryAddAsync(Entity(happened.Subject, happened.Key, happened, body), cancel); // last: where it stands, all of it is told
    }

    public async Task<bool> IsToldAsync(EventRecord happened, CancellationToken cancel) =>
        await Table(happened.Subject).FindAsync(happened.Subject, happened.Key, cancel) is not null;

    public async Task<Page<EventRecord>> ListAsync(EventQuery query, Continuation? after, int limit, CancellationToken cancel)
    {
        var start = after?.Key is { } key && string.CompareOrdinal(key, query.After) > 0 ? key : query.After;
        string[] partitions = query.Subject is { } subject ? [subject] : [.. Enumerable.Range(0, Shards).Select(static i => $"~{i:x}")];
        var pages = await Task.WhenAll(partitions.Select(partition => Table(partition).PageAsync(Filter(partition, query, start), null, limit + 1, cancel)));
        var rows = pages.SelectMany(static page => page.Rows).OrderBy(static row => row.RowKey, StringComparer.Ordinal).Take(limit + 1);
        return _rows.ToPage([.. rows.Select(static row => (row.RowKey, AzureTable.Body(row)))], limit);
    }

    public async Task<int> DeleteBeforeAsync(DateTimeOffset before, int limit, CancellationToken cancel)
    {
        var (count, start) = (0, EventRecord.TimeKey(before) + "~");
        for (var shard = 0; shard < Shards && count < limit; shard++)
        {
            var partition = $"~{shard:x}";
            var (rows, _) = await Table(partition).PageAsync(TableClient.CreateQueryFilter($"PartitionKey eq {partition} and RowKey gt {start}"), null, limit - count, cancel);
            foreach (var row in rows)
            {
                // The subject's row first: as long as the other one is there, this is done again.
                if (row.RowKey.IndexOf('~', StringComparison.Ordinal) is var end and > 0)
                {
                    var subject = row.RowKey[(end + 1)..];
                    await Table(subject).DropAsync(subject, row.RowKey[..end], cancel);
                }

                await Table(partition).TryDeleteAsync(partition, row.RowKey, row.ETag.ToString(), cancel);
                count++;
            }
        }

        return count;
    }

    private static string Filter(string partition, EventQuery query, string start)
    {
        var filter = TableClient.CreateQueryFilter($"PartitionKey eq {partition} and RowKey gt {start} and RowKey lt {query.Before}");
        return query.Types is not { Count: > 0 } types
            ? filter
            : $"{filter} and ({string.Join(" or ", types.Select(static type => TableClient.CreateQueryFilter($"Type eq {type}")))})";
    }

    private static TableEntity Entity(string partition, string row, EventRecord happened, byte[] body)
    {
        var entity = AzureTable.Entity(partition, row, body);
        entity["Type"] = happened.Type;
        return entity;
    }

    private AzureTable Table(string partition) => accounts.For(partition).Table(AzureAccounts.Events);
}
