namespace Keylime.Tenant;

/// <summary>A package that dpkg has unpacked.</summary>
/// <param name="ConfigurationFiles">Path to MD5, as the package brought them.</param>
internal sealed record DpkgPackage(string Name, string Version, string Architecture, IReadOnlyDictionary<string, string> ConfigurationFiles)
{
    /// <summary>From a paragraph of the status file.</summary>
    /// <returns><see langword="null"/> for one whose files are not there.</returns>
    public static DpkgPackage? From(IReadOnlyDictionary<string, string> fields)
    {
        if (!fields.TryGetValue("Package", out var name) || name.Contains('/', StringComparison.Ordinal)
            || fields.GetValueOrDefault("Status") is not { } status || status.Split(' ')[^1] is "not-installed" or "config-files" or "half-installed")
            return null;

        var files = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var line in fields.GetValueOrDefault("Conffiles", "").Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line.Split(' ') is [var path, { Length: 32 } md5, ..])
                files[path] = md5;
        }

        return new DpkgPackage(name, fields.GetValueOrDefault("Version", ""), fields.GetValueOrDefault("Architecture", ""), files);
    }
}
