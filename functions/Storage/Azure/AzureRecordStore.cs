using System.Globalization;

namespace Keylime.Functions.Storage.Azure;

/// <summary>Records of one kind in tables: spread by their keys over partitions and accounts, or all in one partition.</summary>
internal sealed class AzureRecordStore<T>(AzureAccounts accounts, RecordKind<T> kind, UnreadableRows unreadable) : IRecordStore<T>
    where T : class
{
    private const string Together = "all";

    private readonly RowCodec<T> _rows = new(kind.Type, kind.Schema, kind.Newest, unreadable, kind.Upgrade);
    private readonly string _table = AzureAccounts.TableOf(kind.Name);

    public async Task<Stored<T>?> FindAsync(string key, CancellationToken cancel)
    {
        var row = await TableFor(key).FindAsync(PartitionOf(key), key, cancel);
        return row is null ? null : new Stored<T>(_rows.Decode(key, AzureTable.Body(row)), row.ETag.ToString());
    }

    public async Task<bool> TryAddAsync(T record, CancellationToken cancel)
    {
        var key = kind.Key(record);
        return await TableFor(key).TryAddAsync(AzureTable.Entity(PartitionOf(key), key, _rows.Encode(record)), cancel) is not null;
    }

    public async Task<bool> TryReplaceAsync(Stored<T> read, T next, CancellationToken cancel)
    {
        var key = kind.Key(next);
        return await TableFor(key).TryReplaceAsync(AzureTable.Entity(PartitionOf(key), key, _rows.Encode(next)), read.ETag, cancel) is not null;
    }

    public Task<bool> TryDeleteAsync(Stored<T> read, CancellationToken cancel)
    {
        var key = kind.Key(read.Value);
        return TableFor(key).TryDeleteAsync(PartitionOf(key), key, read.ETag, cancel);
    }

    public async Task<Page<T>> ListAsync(Continuation? after, int limit, CancellationToken cancel)
    {
        var (rows, next) = await AzureListing.PageAsync(accounts, _table, null, after, limit, cancel);
        return _rows.ToPage(rows.ConvertAll(static row => (row.RowKey, AzureTable.Body(row))), next);
    }

    public async Task<Page<T>> ListOfAsync(string prefix, Continuation? after, int limit, CancellationToken cancel)
    {
        if (kind.Spread)
            throw new InvalidOperationException($"'{kind.Name}' are spread: nobody can list some of them by their keys.");
        var filter = global::Azure.Data.Tables.TableClient.CreateQueryFilter($"PartitionKey eq {Together} and RowKey ge {prefix} and RowKey lt {KeyRanges.EndOf(prefix)}");
        var (rows, next) = await TableFor(prefix).PageAsync(filter, after?.Key, limit, cancel);
        return _rows.ToPage(rows.ConvertAll(static row => (row.RowKey, AzureTable.Body(row))), next is null ? null : new Continuation(next));
    }

    public async Task<Page<string>> ListKeysAsync(Continuation? after, int limit, CancellationToken cancel)
    {
        var (rows, next) = await AzureListing.PageAsync(accounts, _table, null, after, limit, cancel, "PartitionKey", "RowKey");
        return new Page<string>([.. rows.Select(static row => row.RowKey)], next);
    }

    private AzureTable TableFor(string key) => accounts.For(kind.Spread ? key : kind.Name).Table(_table);

    private string PartitionOf(string key) => kind.Spread ? Partitions.Of(key) : Together;
}

/// <summary>Lists that go over all accounts, one after the other.</summary>
internal static class AzureListing
{
    /// <summary>A page: a continuation is the account's number and the service's own token in it.</summary>
    public static async Task<(List<global::Azure.Data.Tables.TableEntity> Rows, Continuation? Next)> PageAsync(
        AzureAccounts accounts, string table, string? filter, Continuation? after, int limit, CancellationToken cancel, params string[] select)
    {
        var (number, token) = Read(after);
        var rows = new List<global::Azure.Data.Tables.TableEntity>();
        for (; number < accounts.All.Count; (number, token) = (number + 1, null))
        {
            var (more, next) = await accounts.All[number].Table(table).PageAsync(filter, token, limit - rows.Count, cancel, select);
            rows.AddRange(more);
            if (rows.Count >= limit)
            {
                var (account, place) = next is null ? (number + 1, null) : (number, next);
                return (rows, account < accounts.All.Count ? new Continuation(string.Create(CultureInfo.InvariantCulture, $"{account}|{place}")) : null);
            }
        }

        return (rows, null);
    }

    private static (int Account, string? Token) Read(Continuation? after) =>
        after is { Key: var key } && key.IndexOf('|', StringComparison.Ordinal) is > 0 and var bar
            && int.TryParse(key.AsSpan(0, bar), NumberStyles.None, CultureInfo.InvariantCulture, out var account)
            ? (account, key[(bar + 1)..] is { Length: > 0 } token ? token : null)
            : (0, null);
}
