using System.Text.RegularExpressions;

namespace Keylime.Testing;

/// <summary>What the files of deployments say, for the tests of the programs that they are for: only a program knows its own settings.</summary>
public static class Deployment
{
    private static readonly string Root = Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", ".."));

    /// <summary>Names that begin so, with a file that each stands in: templates, manifests, images, azd, workflows and scripts.</summary>
    public static IReadOnlyDictionary<string, string> Names(string prefix)
    {
        var found = new SortedDictionary<string, string>(StringComparer.Ordinal);
        string[] files =
        [
            Path.Combine(Root, "azure.yaml"), .. Directory.EnumerateFiles(Path.Combine(Root, "functions"), "*", SearchOption.TopDirectoryOnly).Where(static f => Path.GetExtension(f).Length == 0),
            .. ((string[])["infra", ".github"]).SelectMany(static folder => Directory.EnumerateFiles(Path.Combine(Root, folder), "*", SearchOption.AllDirectories)),
        ];
        foreach (var file in files)
        {
            foreach (Match name in Regex.Matches(File.ReadAllText(file), Regex.Escape(prefix) + "[A-Z][A-Z_]*"))
                found.TryAdd(name.Value, Path.GetRelativePath(Root, file));
        }

        return found;
    }

    /// <summary>A file of <c>NAME=VALUE</c>, as containers have it.</summary>
    public static Dictionary<string, string> EnvironmentFile(string path) =>
        File.ReadLines(Path.Combine(Root, path)).Where(static l => l.Length > 0 && l[0] != '#').Select(static l => l.Split('=', 2)).ToDictionary(static p => p[0], static p => p[1]);
}
