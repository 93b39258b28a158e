using System.Security.Cryptography;

namespace Keylime.Tenant;

/// <summary>The regular files below a folder that is a system's root.</summary>
internal static class RootfsSource
{
    // Not on a disk, or different on every machine; upstream's tool leaves out the same.
    private static readonly string[] Volatile = ["/sys", "/run", "/proc", "/lost+found", "/dev", "/media", "/snap", "/mnt", "/var", "/tmp"];

    /// <param name="root">The folder.</param>
    /// <param name="skips">Further paths below it that are left out, as the system names them.</param>
    /// <exception cref="CliException">It is no folder, or cannot be read.</exception>
    public static void Add(PolicyDraft draft, string root, IEnumerable<string> skips, HashAlgorithmName algorithm, Progress progress, CancellationToken cancel)
    {
        if (!Directory.Exists(root))
            throw new CliException(Exits.Usage, $"{PlainText.From(root)} is no folder", "the root of a file system is expected");
        var paths = new RootedPaths(root);
        var skipped = Volatile.Concat(skips.Select(static s => "/" + s.Trim('/'))).ToHashSet(StringComparer.Ordinal);
        var mounts = DriveInfo.GetDrives().Select(static d => Path.TrimEndingDirectorySeparator(d.Name)).Where(m => m != paths.Root).ToHashSet(StringComparer.Ordinal);
        var count = 0L;
        var folders = new Stack<string>(["/"]);
        while (folders.TryPop(out var folder))
        {
            foreach (var entry in Entries(draft, paths.Here(folder)))
            {
                cancel.ThrowIfCancellationRequested();
                var path = folder == "/" ? "/" + entry.Name : $"{folder}/{entry.Name}";
                if (skipped.Contains(path) || entry.LinkTarget is not null)
                    continue;
                if (entry is DirectoryInfo)
                {
                    if (!mounts.Contains(entry.FullName))
                        folders.Push(path);
                }
                else
                {
                    AddFile(draft, path, (FileInfo)entry, algorithm);
                    progress.Report(root, ++count);
                }
            }
        }

        if (count == 0)
            throw new CliException(Exits.Usage, $"{PlainText.From(root)} has no file that a policy can list", $"links, other file systems and {string.Join(' ', Volatile)} are left out");
    }

    private static FileSystemInfo[] Entries(PolicyDraft draft, string folder)
    {
        try
        {
            return new DirectoryInfo(folder).GetFileSystemInfos();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            draft.Tell($"{e.Message} It is left out.");
            return [];
        }
    }

    private static void AddFile(PolicyDraft draft, string path, FileInfo file, HashAlgorithmName algorithm)
    {
        try
        {
            draft.AllowFile(path, FileDigest.Of(file, algorithm)[0]);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            draft.Tell(path.Contains('\ufffd', StringComparison.Ordinal)
                ? $"{path}: the name is no UTF-8, and JSON cannot have it: it is left out." : $"{e.Message} It is left out.");
        }
    }
}
