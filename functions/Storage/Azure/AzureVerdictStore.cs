using System.Globalization;
using Azure.Data.Tables;
using Keylime.Protocol;

namespace Keylime.Functions.Storage.Azure;

/// <summary>The verdicts in tables, a partition a node, newest first. Nothing here changes a row.</summary>
internal sealed class AzureVerdictStore(AzureAccounts accounts, UnreadableRows unreadable) : IVerdictStore
{
    private const int PageSize = 1000;

    private readonly RowCodec<VerdictRecord> _rows = new(StorageJson.Default.VerdictRecord, v => v.Schema, VerdictRecord.CurrentSchema, unreadable);

    public async Task<bool> TryAddAsync(VerdictRecord verdict, CancellationToken cancel)
    {
        var node = verdict.Node.ToString();
        return await TableFor(node).TryAddAsync(Entity(verdict), cancel) is not null;
    }

    public async Task<VerdictRecord?> FindAsync(AgentId node, long attestation, CancellationToken cancel)
    {
        if (attestation < 0)
            return null;
        var row = await TableFor(node.ToString()).FindAsync(node.ToString(), RowOf(attestation), cancel);
        return row is null ? null : _rows.Decode($"{node}/{attestation}", AzureTable.Body(row));
    }

    public async Task<Page<VerdictRecord>> ListAsync(AgentId node, Continuation? after, int limit, CancellationToken cancel)
    {
        var behind = after?.Key ?? "";
        var filter = TableClient.CreateQueryFilter($"PartitionKey eq {node.ToString()} and RowKey gt {behind}");
        var (rows, _) = await TableFor(node.ToString()).PageAsync(filter, null, limit + 1, cancel);
        return _rows.ToPage(rows.ConvertAll(static row => (row.RowKey, AzureTable.Body(row))), limit, row => $"{node}/{row}");
    }

    public async Task<IReadOnlyList<VerdictRecord>> ListSinceAsync(AgentId node, long attestation, int limit, CancellationToken cancel)
    {
        var filter = TableClient.CreateQueryFilter($"PartitionKey eq {node.ToString()} and RowKey le {RowOf(attestation)}");
        var all = new List<TableEntity>();
        string? token = null;
        do
        {
            (var rows, token) = await TableFor(node.ToString()).PageAsync(filter, token, PageSize, cancel);
            all.AddRange(rows);
        }
        while (token is not null);

        all.Reverse(); // the rows stand newest first
        return [.. all.Take(limit).Select(row => _rows.TryDecode($"{node}/{row.RowKey}", AzureTable.Body(row))).OfType<VerdictRecord>()];
    }

    public async Task<VerdictRows> ListUpToAsync(AgentId node, long attestation, int limit, CancellationToken cancel)
    {
        var filter = TableClient.CreateQueryFilter($"PartitionKey eq {node.ToString()} and RowKey ge {RowOf(attestation)}");
        var (rows, _) = await TableFor(node.ToString()).PageAsync(filter, null, limit, cancel);
        return VerdictRows.Of(
            [.. rows.Select(row => _rows.TryDecode($"{node}/{row.RowKey}", AzureTable.Body(row))).OfType<VerdictRecord>()],
            rows.Count, limit, rows is [.., var last] ? long.MaxValue - long.Parse(last.RowKey, CultureInfo.InvariantCulture) : 0);
    }

    public async Task DeleteAsync(AgentId node, IReadOnlyList<long> attestations, CancellationToken cancel)
    {
        foreach (var some in attestations.Chunk(AzureTable.MaxBatch))
            await TableFor(node.ToString()).DropAsync(node.ToString(), Array.ConvertAll(some, RowOf), cancel);
    }

    /// <summary>Its row.</summary>
    internal TableEntity Entity(VerdictRecord verdict) => AzureTable.Entity(verdict.Node.ToString(), RowOf(verdict.Message.Attestation), _rows.Encode(verdict));

    private AzureTable TableFor(string node) => accounts.For(node).Table(AzureAccounts.Verdicts);

    private static string RowOf(long attestation) => (long.MaxValue - attestation).ToString("d19", CultureInfo.InvariantCulture);
}
