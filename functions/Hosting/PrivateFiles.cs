namespace Keylime.Functions.Hosting;

/// <summary>Files and folders that nobody else may read. A file is there whole, or not at all.</summary>
internal static class PrivateFiles
{
    private const UnixFileMode FileMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode FolderMode = FileMode | UnixFileMode.UserExecute;
    private const UnixFileMode Others = (UnixFileMode)0b000_111_111;

    /// <summary>Makes a folder of mode 0700, or takes one that nobody else may enter.</summary>
    /// <exception cref="IOException">The folder is there, is not ours to close, and others may enter it.</exception>
    public static void CreateFolder(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(path);
            return;
        }

        Directory.CreateDirectory(path, FolderMode);
        if ((File.GetUnixFileMode(path) & Others) == 0)
            return;
        if (Directory.EnumerateFileSystemEntries(path).Any())
            throw new IOException($"'{path}' holds files and is open to others: mode 0700 is expected.");
        File.SetUnixFileMode(path, FolderMode);
    }

    /// <summary>Writes a file of mode 0600: into a temporary one beside it, flushed to the disk, and moved into its place.</summary>
    public static Task WriteAsync(string path, ReadOnlyMemory<byte> content, CancellationToken cancel) =>
        WriteAsync(path, file => file.WriteAsync(content, cancel).AsTask());

    /// <summary>The same, of content that comes in pieces.</summary>
    public static async Task WriteAsync(string path, Func<Stream, Task> write)
    {
        var beside = $"{path}.{Guid.NewGuid():N}.tmp";
        var options = new FileStreamOptions { Mode = System.IO.FileMode.CreateNew, Access = FileAccess.Write, Options = FileOptions.Asynchronous };
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = FileMode;
        try
        {
            await using (var file = new FileStream(beside, options))
            {
                await write(file);
                file.Flush(flushToDisk: true);
            }

            File.Move(beside, path, overwrite: true);
        }
        finally
        {
            File.Delete(beside);
        }
    }

    /// <summary>The same, where nothing can wait: at the start.</summary>
    public static void Write(string path, ReadOnlySpan<byte> content)
    {
        var beside = $"{path}.{Guid.NewGuid():N}.tmp";
        var options = new FileStreamOptions { Mode = System.IO.FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = FileMode;
        try
        {
            using (var file = new FileStream(beside, options))
            {
                file.Write(content);
                file.Flush(flushToDisk: true);
            }

            File.Move(beside, path, overwrite: true);
        }
        finally
        {
            File.Delete(beside);
        }
    }
}
