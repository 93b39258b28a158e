namespace Keylime.Functions.Storage;

/// <summary>Whether the store answers.</summary>
internal interface IStoreHealth
{
    /// <summary>What the store is, for a person.</summary>
    string Name { get; }

    /// <exception cref="StorageUnavailableException">It does not answer.</exception>
    Task CheckAsync(CancellationToken cancel);
}
