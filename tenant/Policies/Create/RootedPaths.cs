using System.Diagnostics.CodeAnalysis;

namespace Keylime.Tenant;

/// <summary>Paths of a system whose root is a folder here: its links are followed as that system would, and never out of the folder.</summary>
/// <param name="root">The folder.</param>
internal sealed class RootedPaths(string root)
{
    private const int MaxLinks = 40; // as the kernel has it

    private readonly Dictionary<string, string?> _folders = new(StringComparer.Ordinal) { ["/"] = "/" };

    public string Root { get; } = Path.TrimEndingDirectorySeparator(Path.GetFullPath(root));

    /// <summary>Where a path of that system is here.</summary>
    public string Here(string path) => Root == "/" ? path : Root + path;

    /// <summary>
    /// The name that a file has once its folders' links are followed, which is the one that the kernel measures: <c>/bin/ls</c> is <c>/usr/bin/ls</c> where
    /// <c>/bin</c> is a link.
    /// </summary>
    /// <returns>False for a path that leads nowhere, or in circles.</returns>
    public bool TryResolve(string path, [NotNullWhen(true)] out string? real)
    {
        var slash = path.LastIndexOf('/');
        var folder = Folder(slash <= 0 ? "/" : path[..slash], 0);
        real = folder is null || slash < 0 || slash == path.Length - 1 ? null : Join(folder, path[(slash + 1)..]);
        return real is not null;
    }

    private string? Folder(string path, int links)
    {
        if (_folders.TryGetValue(path, out var known))
            return known;
        var real = links > MaxLinks ? null : Follow(path, links);
        _folders[path] = real;
        return real;
    }

    private string? Follow(string path, int links)
    {
        var slash = path.LastIndexOf('/');
        var name = path[(slash + 1)..];
        if (Folder(slash <= 0 ? "/" : path[..slash], links) is not { } parent)
            return null;
        switch (name)
        {
            case "" or ".":
                return parent;
            case "..":
                return parent.LastIndexOf('/') is > 0 and var up ? parent[..up] : "/";
        }

        var at = Join(parent, name);
        var info = new DirectoryInfo(Here(at));
        if (info.LinkTarget is { } target)
            return Folder(target.StartsWith('/') ? target : Join(parent, target), links + 1);
        return info.Exists ? at : null;
    }

    private static string Join(string folder, string name) => folder == "/" ? "/" + name : $"{folder}/{name}";
}
