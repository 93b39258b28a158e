namespace Keylime.Tenant;

/// <summary>Files as .rpm packages have them in their headers. Whether a package is its maker's is for rpm or dnf to check, before.</summary>
internal static class RpmSource
{
    private const int Sha1Hex = 40;

    /// <param name="path">An .rpm file, or a folder with some in it, at any depth.</param>
    /// <exception cref="CliException">There is none, or one cannot be read.</exception>
    public static void Add(PolicyDraft draft, string path, Progress progress, CancellationToken cancel)
    {
        try
        {
            var files = Directory.Exists(path) ? Directory.GetFiles(path, "*.rpm", SearchOption.AllDirectories).Order(StringComparer.Ordinal).ToArray() : [path];
            if (files.Length == 0)
                throw new CliException(Exits.Usage, $"{PlainText.From(path)} has no .rpm file", "a folder of packages is expected");
            var signed = 0;
            for (var i = 0; i < files.Length; i++)
            {
                cancel.ThrowIfCancellationRequested();
                signed += Add(draft, files[i]);
                progress.Report(path, i + 1);
            }

            if (signed > 0)
                draft.Tell($"{path}: {signed} files have IMA signatures; --verification-key with the key of whoever signed them admits later versions too");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(Exits.Usage, PlainText.From(e.Message), "an .rpm file or a folder of them is expected");
        }
    }

    private static int Add(PolicyDraft draft, string file)
    {
        try
        {
            using var stream = File.OpenRead(file);
            var package = RpmPackage.Read(stream);
            draft.Provenance.Add(package.Name, package.Version, $"rpm {package.Architecture}");
            foreach (var (path, digest) in package.Files)
            {
                if (digest.Length >= Sha1Hex)
                    draft.AllowFile(path, digest.ToLowerInvariant(), package.Name);
                else
                    draft.Tell($"{path} of {package.Name}: its digest, of {4 * digest.Length} bits, is too weak to be listed");
            }

            return package.Signatures;
        }
        catch (InvalidDataException e)
        {
            throw new CliException(Exits.Usage, PlainText.From($"{file}: {e.Message}"), "an .rpm file of version 4 is expected");
        }
    }
}
