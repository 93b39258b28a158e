using System.Security.Cryptography;
using System.Text.Json;
using Keylime.Protocol;

namespace Keylime.Demo;

/// <summary>A secret that the operator puts for machines, and where each of them has it.</summary>
internal sealed class Payload(Fleet fleet, string folder) : IDisposable
{
    public const string Name = "db.key";

    private readonly byte[] _secret = RandomNumberGenerator.GetBytes(4096);

    // Payloads lie in memory only, so the machines' directories do.
    private readonly string _memory = Path.Combine("/dev/shm", Path.GetFileName(folder));

    /// <summary>The line of a machine's configuration.</summary>
    public string OptionOf(Machine machine)
    {
        if (OperatingSystem.IsWindows())
            throw new DemoException("There is no tmpfs here.");
        Directory.CreateDirectory(FolderOf(machine), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return $"payload_dir = \"{FolderOf(machine)}\"";
    }

    public async Task PutAsync(CancellationToken cancel, params IReadOnlyList<string> audience)
    {
        var file = Path.Combine(folder, "db.key.plain");
        await File.WriteAllBytesAsync(file, _secret, cancel);
        await fleet.DoAsync(cancel, ["payload", "put", Name, "--file", file, "--require", "identity,runtime", .. audience]);
        File.Delete(file);
    }

    /// <summary>Whether a machine has the secret, as it was put.</summary>
    public bool IsAt(Machine machine)
    {
        var path = Path.Combine(FolderOf(machine), Name);
        return File.Exists(path) && File.ReadAllBytes(path).AsSpan().SequenceEqual(_secret);
    }

    /// <summary>Whether nothing of a payload is at a machine.</summary>
    public bool IsGoneFrom(Machine machine) =>
        !Directory.EnumerateFiles(FolderOf(machine)).Any(static f => !Path.GetFileName(f).StartsWith('.'));

    /// <summary>What the service would decide now, by node.</summary>
    public async Task<IReadOnlyDictionary<string, string>> DecisionsAsync(CancellationToken cancel) =>
        JsonSerializer.Deserialize(await fleet.DoAsync(cancel, "payload", "grants", Name, "--json"), ApiJson.Default.PayloadGrantList)!.Grants.ToDictionary(static g => g.Node.ToString(), static g => g.Code);

    /// <summary>The nodes that it was released to.</summary>
    public async Task<IReadOnlyList<string>> ReleasedToAsync(CancellationToken cancel) =>
        [.. JsonSerializer.Deserialize(await fleet.DoAsync(cancel, "payload", "releases", Name, "--json"), ApiJson.Default.ReleaseList)!.Releases.Where(static r => r.Granted).Select(static r => r.Node.ToString()).Distinct().Order(StringComparer.Ordinal)];

    public void Dispose()
    {
        if (Directory.Exists(_memory))
            Directory.Delete(_memory, recursive: true);
    }

    private string FolderOf(Machine machine) => Path.Combine(_memory, machine.Name);
}
