using System.Security.Cryptography;
using Keylime.Functions.Hosting;

namespace Keylime.Functions.Storage;

/// <summary>Large objects as files of one folder, each written whole or not at all.</summary>
internal sealed class FileBlobStore(string folder) : IBlobStore
{
    public async Task<string> PutAsync(ReadOnlyMemory<byte> content, CancellationToken cancel)
    {
        var digest = Convert.ToHexStringLower(SHA256.HashData(content.Span));
        try
        {
            // What is there and damaged is written again: to put it once more is how it heals.
            if (!MappedFile.Holds(PathOf(digest), digest))
                await PrivateFiles.WriteAsync(PathOf(digest), content, cancel);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StorageUnavailableException($"Blobs: {e.Message}", e);
        }

        return digest;
    }

    public async Task<ReadOnlyMemory<byte>?> FindAsync(string digest, CancellationToken cancel)
    {
        try
        {
            var content = await File.ReadAllBytesAsync(PathOf(digest), cancel);
            return Convert.ToHexStringLower(SHA256.HashData(content)) == digest ? (ReadOnlyMemory<byte>?)content : null; // a bare null would become an empty blob
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StorageUnavailableException($"Blobs: {e.Message}", e);
        }
    }

    public Task<ReadOnlyMemory<byte>?> MapAsync(string digest, CancellationToken cancel)
    {
        try
        {
            return Task.FromResult(MappedFile.Open(PathOf(digest), digest));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StorageUnavailableException($"Blobs: {e.Message}", e);
        }
    }

    private string PathOf(string digest) =>
        digest.Length == SHA256.HashSizeInBytes * 2 && digest.All(char.IsAsciiHexDigitLower)
            ? Path.Combine(folder, digest)
            : throw new ArgumentException("A SHA-256 in lower-case hex is expected.", nameof(digest));
}
