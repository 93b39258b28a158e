using Keylime.Functions.Hosting;

namespace Keylime.Functions.Storage;

/// <summary>Copies on this machine of large objects that are kept elsewhere: each is fetched once. Those that were used longest ago go when there are too many bytes of them.</summary>
internal sealed class LocalCopies(string folder, long limit, TimeProvider clock)
{
    /// <param name="fetch">Writes the object to a stream; false if there is none.</param>
    /// <returns>The bytes, mapped; <see langword="null"/> if there are none, or if they are not what the digest says.</returns>
    /// <exception cref="IOException">The folder cannot be used.</exception>
    public async Task<ReadOnlyMemory<byte>?> MapAsync(string digest, Func<Stream, Task<bool>> fetch)
    {
        PrivateFiles.CreateFolder(folder);
        var path = Path.Combine(folder, digest);
        if (MappedFile.Open(path, digest) is { } kept)
        {
            File.SetLastWriteTimeUtc(path, clock.GetUtcNow().UtcDateTime);
            return kept;
        }

        var found = false;
        await PrivateFiles.WriteAsync(path, async file => found = await fetch(file));
        var copy = found ? MappedFile.Open(path, digest) : null;
        if (copy is null)
            File.Delete(path);
        Trim(path);
        return copy;
    }

    // What is mapped stays mapped: a file that has no name any more is there until nobody uses it.
    private void Trim(string newest)
    {
        var kept = new DirectoryInfo(folder).EnumerateFiles().OrderByDescending(f => f.FullName == newest).ThenByDescending(static f => f.LastWriteTimeUtc).ToArray();
        long bytes = 0;
        foreach (var file in kept)
        {
            bytes += file.Exists ? file.Length : 0;
            if (bytes > limit && file.FullName != newest)
                file.Delete();
        }
    }
}
