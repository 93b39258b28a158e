using Azure;
using Azure.Data.Tables;

namespace Keylime.Functions.Storage.Azure;

/// <summary>One table: conditional writes that know their own work again, and pages.</summary>
internal sealed class AzureTable(TableClient client)
{
    /// <summary>Rows of one partition that a request can change at once.</summary>
    public const int MaxBatch = 100;

    private const string WriteId = "WriteId";
    private const int MaxBody = 900 * 1024;  // an entity has 1 MiB at most
    private const int MaxPart = 60 * 1024;   // and a property 64 KiB

    /// <summary>The row's bytes, in as many properties as they need.</summary>
    /// <exception cref="StorageUnavailableException">They do not fit a row.</exception>
    public static TableEntity Entity(string partition, string row, byte[] body)
    {
        if (body.Length > MaxBody)
            throw new StorageUnavailableException($"The row '{partition}/{row}' has {body.Length} bytes, and {MaxBody} at most fit a table.");
        var entity = new TableEntity(partition, row);
        for (var i = 0; i * MaxPart < body.Length; i++)
            entity[$"Body{i:d2}"] = body.AsSpan(i * MaxPart, Math.Min(MaxPart, body.Length - i * MaxPart)).ToArray();
        return entity;
    }

    /// <returns>Empty where there is none: no row of ours.</returns>
    public static byte[] Body(TableEntity entity)
    {
        byte[] body = [];
        for (var i = 0; entity.TryGetValue($"Body{i:d2}", out var part) && part is byte[] bytes; i++)
            body = i == 0 ? bytes : [.. body, .. bytes];
        return body;
    }

    public Task<TableEntity?> FindAsync(string partition, string row, CancellationToken cancel) => AzureErrors.TranslateAsync(async () =>
    {
        var found = await client.GetEntityIfExistsAsync<TableEntity>(partition, row, cancellationToken: cancel);
        return found.HasValue ? found.Value : null;
    });

    /// <returns>The row's ETag; <see langword="null"/> if one of its key is there.</returns>
    public Task<string?> TryAddAsync(TableEntity entity, CancellationToken cancel) => WriteAsync(
        entity, () => client.AddEntityAsync(entity, cancel), cancel);

    /// <returns>The row's new ETag; <see langword="null"/> if it has changed or gone.</returns>
    public Task<string?> TryReplaceAsync(TableEntity entity, string etag, CancellationToken cancel) => WriteAsync(
        entity, () => client.UpdateEntityAsync(entity, new ETag(etag), TableUpdateMode.Replace, cancel), cancel);

    /// <returns><see langword="false"/> if it has changed or gone.</returns>
    public Task<bool> TryDeleteAsync(string partition, string row, string etag, CancellationToken cancel) => AzureErrors.TranslateAsync(async () =>
    {
        try
        {
            return (await client.DeleteEntityAsync(partition, row, new ETag(etag), cancel)).Status != StatusCodes.Status404NotFound;
        }
        catch (RequestFailedException e) when (e.Status is StatusCodes.Status404NotFound or StatusCodes.Status412PreconditionFailed)
        {
            return false;
        }
    });

    /// <summary>Deletes a row of a kind that never changes, if it is there.</summary>
    public async Task DropAsync(string partition, string row, CancellationToken cancel)
    {
        if (await FindAsync(partition, row, cancel) is { } found)
            await TryDeleteAsync(partition, row, found.ETag.ToString(), cancel);
    }

    /// <summary>Deletes rows of a kind that never changes, at most <see cref="MaxBatch"/>, in one request where all of them are there.</summary>
    public async Task DropAsync(string partition, IReadOnlyCollection<string> rows, CancellationToken cancel)
    {
        // Such a row is what it was when it was read, or gone: no condition says more.
        var deletes = rows.Select(row => new TableTransactionAction(TableTransactionActionType.Delete, new TableEntity(partition, row), ETag.All));
        var all = await AzureErrors.TranslateAsync(async () =>
        {
            try
            {
                await client.SubmitTransactionAsync(deletes, cancel);
                return true;
            }
            catch (RequestFailedException e) when (e.Status == StatusCodes.Status404NotFound)
            {
                return false; // one is not there any more, and so nothing was deleted: somebody was faster, or the answer to this very request was lost
            }
        });
        if (all)
            return;
        foreach (var row in rows)
            await DropAsync(partition, row, cancel);
    }

    /// <summary>Rows of a filter, at most so many, from a continuation token of the service on.</summary>
    /// <returns>The rows, and the token behind them; <see langword="null"/> at the end.</returns>
    public Task<(List<TableEntity> Rows, string? Token)> PageAsync(string? filter, string? token, int limit, CancellationToken cancel, params string[] select) =>
        AzureErrors.TranslateAsync(async () =>
        {
            const int maxPage = 1000;
            var rows = new List<TableEntity>();
            do
            {
                // The service may end a page wherever it likes, even an empty one, as long as it gives a token.
                var query = client.QueryAsync<TableEntity>(filter, Math.Min(maxPage, limit - rows.Count), select.Length == 0 ? null : select, cancel);
                var page = await query.AsPages(token).FirstAsync(cancel);
                rows.AddRange(page.Values);
                token = page.ContinuationToken;
            }
            while (token is not null && rows.Count < limit);

            return (rows, token);
        });

    // A write may arrive and its answer be lost; the library then sends it again, and that is refused: by the mark in it, it is known to be ours.
    private Task<string?> WriteAsync(TableEntity entity, Func<Task<Response>> write, CancellationToken cancel) => AzureErrors.TranslateAsync(async () =>
    {
        var id = Guid.NewGuid().ToString("N");
        entity[WriteId] = id;
        try
        {
            var response = await write();
            return response.Headers.ETag?.ToString();
        }
        catch (RequestFailedException e) when (e.Status is StatusCodes.Status404NotFound or StatusCodes.Status409Conflict or StatusCodes.Status412PreconditionFailed)
        {
            var there = await client.GetEntityIfExistsAsync<TableEntity>(entity.PartitionKey, entity.RowKey, cancellationToken: cancel);
            return there.HasValue && there.Value!.TryGetValue(WriteId, out var written) && written is string mark && mark == id ? there.Value.ETag.ToString() : null;
        }
    });
}
