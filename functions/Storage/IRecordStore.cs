namespace Keylime.Functions.Storage;

/// <summary>Rows of one kind, each under a key of its own: registrations, policies, trusted certificates … See <see cref="RecordKinds"/>.</summary>
internal interface IRecordStore<T>
    where T : class
{
    Task<Stored<T>?> FindAsync(string key, CancellationToken cancel);

    /// <returns><see langword="false"/> if the key is taken.</returns>
    Task<bool> TryAddAsync(T record, CancellationToken cancel);

    /// <returns><see langword="false"/> if it has changed or gone since it was read.</returns>
    Task<bool> TryReplaceAsync(Stored<T> read, T next, CancellationToken cancel);

    /// <returns><see langword="false"/> if it has changed or gone since it was read.</returns>
    Task<bool> TryDeleteAsync(Stored<T> read, CancellationToken cancel);

    /// <summary>A page; in the order of keys, unless the kind is spread. A row that cannot be read is reported and left out.</summary>
    Task<Page<T>> ListAsync(Continuation? after, int limit, CancellationToken cancel);

    /// <summary>A page of those whose keys start so, in the order of keys. Of a kind that stands together.</summary>
    Task<Page<T>> ListOfAsync(string prefix, Continuation? after, int limit, CancellationToken cancel);

    /// <summary>The keys alone, of rows that can be read and others.</summary>
    Task<Page<string>> ListKeysAsync(Continuation? after, int limit, CancellationToken cancel);
}

internal static class RecordStoreExtensions
{
    private const int PageSize = 1000;

    /// <summary>All of a kind of which there are few.</summary>
    public static async Task<IReadOnlyList<T>> AllAsync<T>(this IRecordStore<T> store, CancellationToken cancel)
        where T : class
    {
        var all = new List<T>();
        Continuation? after = null;
        do
        {
            var page = await store.ListAsync(after, PageSize, cancel);
            all.AddRange(page.Items);
            after = page.Next;
        }
        while (after is not null);
        return all;
    }
}
