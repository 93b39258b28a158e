using System.Security.Cryptography;

namespace Keylime.Tenant;

/// <summary>The files that Debian's packages brought, below a root: each hashed, and held against the MD5 that dpkg keeps of it.</summary>
/// <remarks>MD5 finds files that were changed by accident or by an administrator. Against an attacker, who can change the database too, it is no proof.</remarks>
internal static class DpkgSource
{
    /// <param name="allowChanged">Lists also files that are not as the package brought them.</param>
    /// <exception cref="CliException">There is no database.</exception>
    public static void Add(PolicyDraft draft, string root, bool allowChanged, HashAlgorithmName algorithm, Progress progress, CancellationToken cancel)
    {
        var (paths, database) = (new RootedPaths(root), new DpkgDatabase(root));
        var count = 0L;
        foreach (var package in database.Packages)
        {
            draft.Provenance.Add(package.Name, package.Version, $"dpkg {package.Architecture}");
            foreach (var (path, md5) in database.FilesOf(package))
            {
                cancel.ThrowIfCancellationRequested();
                if (paths.TryResolve(path, out var real) && new FileInfo(paths.Here(real)) is { Exists: true, LinkTarget: null } file)
                {
                    AddFile(draft, package, real, file, md5, allowChanged, algorithm);
                    progress.Report($"packages of {root}", ++count);
                }
            }
        }

        if (count == 0)
            throw new CliException(Exits.Usage, $"{PlainText.From(root)}: its package database names no file that is there", "the root of a system of Debian's kind is expected");
    }

    private static void AddFile(PolicyDraft draft, DpkgPackage package, string path, FileInfo file, string? md5, bool allowChanged, HashAlgorithmName algorithm)
    {
        try
        {
            var digests = FileDigest.Of(file, algorithm, HashAlgorithmName.MD5);
            var wrong = md5 is null ? $"{path} of {package.Name}: dpkg keeps no checksum of it"
                : digests[1] != md5 ? $"{path} is not as {package.Name} {package.Version} brought it" : null;
            if (wrong is null || allowChanged)
                draft.AllowFile(path, digests[0], package.Name);
            if (wrong is not null)
                draft.Tell(wrong + (allowChanged ? ": it is listed all the same" : ": it is left out (--allow-changed lists it)"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            draft.Tell($"{e.Message} It is left out.");
        }
    }
}
