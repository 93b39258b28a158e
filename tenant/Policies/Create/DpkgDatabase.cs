using System.Text;

namespace Keylime.Tenant;

/// <summary>Debian's package database below a root, as far as it says who owns which file (deb-control(5), dpkg(1): FILES).</summary>
internal sealed class DpkgDatabase
{
    private readonly string _folder;
    private readonly Dictionary<string, (string To, string By)> _diversions = new(StringComparer.Ordinal);

    /// <param name="root">The system's root, here.</param>
    /// <exception cref="CliException">There is no such database.</exception>
    public DpkgDatabase(string root)
    {
        _folder = Path.Combine(root, "var/lib/dpkg");
        try
        {
            Packages = [.. ReadPackages(File.ReadLines(Path.Combine(_folder, "status"), Encoding.UTF8))];
            ReadDiversions();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(Exits.Usage, PlainText.From(e.Message), "the root of a system of Debian's kind is expected, with var/lib/dpkg/status");
        }
    }

    /// <summary>Those that are unpacked at least.</summary>
    public IReadOnlyList<DpkgPackage> Packages { get; }

    /// <summary>The paths that a package has, each with the MD5 that dpkg knows of it, or <see langword="null"/>; a diverted file is under its other name.</summary>
    public IEnumerable<(string Path, string? Md5)> FilesOf(DpkgPackage package)
    {
        var sums = new Dictionary<string, string>(package.ConfigurationFiles, StringComparer.Ordinal);
        foreach (var line in Lines(package, "md5sums"))
        {
            var space = line.IndexOf(' ', StringComparison.Ordinal);
            if (space > 0)
                sums["/" + line[space..].TrimStart()] = line[..space];
        }

        foreach (var path in Lines(package, "list"))
        {
            if (path.Length > 2)
                yield return (_diversions.TryGetValue(path, out var diverted) && diverted.By != package.Name ? diverted.To : path, sums.GetValueOrDefault(path));
        }
    }

    private IEnumerable<string> Lines(DpkgPackage package, string kind)
    {
        var info = Path.Combine(_folder, "info");
        var file = (string[])[Path.Combine(info, $"{package.Name}:{package.Architecture}.{kind}"), Path.Combine(info, $"{package.Name}.{kind}")];
        return file.FirstOrDefault(File.Exists) is { } found ? File.ReadLines(found, Encoding.UTF8) : [];
    }

    private static IEnumerable<DpkgPackage> ReadPackages(IEnumerable<string> lines)
    {
        var fields = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        var last = "";
        foreach (var line in lines.Append(""))
        {
            if (line.Length == 0)
            {
                if (DpkgPackage.From(fields) is { } package)
                    yield return package;
                fields.Clear();
            }
            else if (line[0] is ' ' or '\t')
            {
                fields[last] = fields.GetValueOrDefault(last) + "\n" + line.Trim();
            }
            else if (line.IndexOf(':', StringComparison.Ordinal) is > 0 and var colon)
            {
                last = line[..colon];
                fields[last] = line[(colon + 1)..].Trim();
            }
        }
    }

    // Three lines each: from, to, by which package (":" for the administrator's own).
    private void ReadDiversions()
    {
        var file = Path.Combine(_folder, "diversions");
        if (!File.Exists(file))
            return;
        foreach (var three in File.ReadLines(file, Encoding.UTF8).Chunk(3).Where(static c => c.Length == 3))
            _diversions[three[0]] = (three[1], three[2]);
    }
}
