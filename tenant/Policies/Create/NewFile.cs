namespace Keylime.Tenant;

/// <summary>Writes a file whole or not at all.</summary>
internal static class NewFile
{
    /// <summary>Writes beside the file, and takes its name when all is there.</summary>
    /// <exception cref="CliException">It cannot be written; what was there is still there.</exception>
    public static async Task WriteAsync(string path, ReadOnlyMemory<byte> content, CancellationToken cancel)
    {
        var temporary = $"{path}.{Environment.ProcessId}.tmp";
        try
        {
            await File.WriteAllBytesAsync(temporary, content, cancel);
            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(Exits.Usage, PlainText.From(e.Message), "a place where a file can be written is expected");
        }
        finally
        {
            if (File.Exists(temporary))
                File.Delete(temporary);
        }
    }
}
