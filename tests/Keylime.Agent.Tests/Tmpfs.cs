using Keylime.Testing;

namespace Keylime.Agent.Tests;

/// <summary>A directory for payloads on a tmpfs: one of the machine's own, or one that is mounted for the test, with a size.</summary>
internal sealed class Tmpfs : IDisposable
{
    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private readonly bool _isMounted;

    private Tmpfs(string path, bool isMounted) => (Path, _isMounted) = (path, isMounted);

    public string Path { get; }

    public static Tmpfs Make() => new(Directory.CreateDirectory($"/dev/shm/payloads-{Guid.NewGuid():N}", Private).FullName, isMounted: false);

    /// <remarks>For root alone.</remarks>
    public static async Task<Tmpfs> MountAsync(string size)
    {
        var path = Directory.CreateTempSubdirectory("payloads-").FullName;
        await ToolProcess.RunAsync("mount", "/", ["-t", "tmpfs", "-o", $"size={size},mode=700", "none", path], tcti: null);
        return new Tmpfs(path, isMounted: true);
    }

    public Task GrowAsync(string size) => ToolProcess.RunAsync("mount", "/", ["-o", $"remount,size={size}", Path], tcti: null);

    /// <summary>The payloads in it, and whatever else somebody may see.</summary>
    public IEnumerable<string> Names => Directory.EnumerateFileSystemEntries(Path).Select(static p => System.IO.Path.GetFileName(p)!).Order(StringComparer.Ordinal);

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public void Dispose()
    {
        if (_isMounted)
            ToolProcess.RunAsync("umount", "/", ["-l", Path], tcti: null).GetAwaiter().GetResult();
        Directory.Delete(Path, recursive: true);
    }
}
