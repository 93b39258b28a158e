namespace Keylime.Functions.Storage;

/// <summary>The runtime policies by name; their texts are blobs.</summary>
internal interface IPolicyStore
{
    Task<Stored<PolicyRecord>?> FindAsync(string name, CancellationToken cancel);

    /// <returns><see langword="false"/> if the name is taken.</returns>
    Task<bool> TryAddAsync(PolicyRecord policy, CancellationToken cancel);

    /// <returns><see langword="false"/> if it has changed or gone since it was read.</returns>
    Task<bool> TryReplaceAsync(Stored<PolicyRecord> read, PolicyRecord next, CancellationToken cancel);

    /// <returns><see langword="false"/> if it has changed or gone since it was read.</returns>
    Task<bool> TryDeleteAsync(Stored<PolicyRecord> read, CancellationToken cancel);

    /// <summary>A page in the order of names. A row that cannot be read is logged and left out.</summary>
    Task<Page<PolicyRecord>> ListAsync(Continuation? after, int limit, CancellationToken cancel);
}
