namespace Keylime.Functions.Storage;

/// <summary>Large objects, named by the SHA-256 of their bytes: what a digest names never changes.</summary>
internal interface IBlobStore
{
    /// <returns>The digest, in hex.</returns>
    Task<string> PutAsync(ReadOnlyMemory<byte> content, CancellationToken cancel);

    /// <returns>The bytes; <see langword="null"/> if there are none, or if they are not what the digest says.</returns>
    Task<ReadOnlyMemory<byte>?> FindAsync(string digest, CancellationToken cancel);

    /// <summary>The same, of what is too large to be copied into memory: a file of this machine, mapped.</summary>
    /// <returns>The bytes; <see langword="null"/> if there are none, or if they are not what the digest says.</returns>
    Task<ReadOnlyMemory<byte>?> MapAsync(string digest, CancellationToken cancel);
}
