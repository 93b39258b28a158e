using Keylime.Demo;
using Keylime.Testing;

namespace Keylime.Vm.Tests;

/// <summary>A disk of a virtual machine's own, and the variables of its firmware. The disk is a copy of the one that <c>tests/vm/build</c> makes, and keeps under <c>artifacts/vm</c>.</summary>
internal sealed class MachineDisk
{
    // Where tests/vm/build puts the EFI system partition.
    private const string BootPartition = "1M";

    // The first build fetches a kernel of 70 MB.
    private static readonly TimeSpan BuildTimeout = TimeSpan.FromMinutes(5);
    private static readonly Lazy<Task<string>> Built = new(BuildAsync);

    private readonly string _folder;

    private MachineDisk(string folder) => _folder = folder;

    public string Path => System.IO.Path.Combine(_folder, "disk.img");

    public string VariablesPath => System.IO.Path.Combine(_folder, "variables.fd");

    /// <param name="folder">Where it is put; it has to be there.</param>
    public static async Task<MachineDisk> MakeAsync(string folder)
    {
        var disk = new MachineDisk(folder);
        File.Copy(System.IO.Path.Combine(await Built.Value, "disk.img"), disk.Path);
        disk.ResetVariables(Firmware.WithKeys);
        return disk;
    }

    /// <summary>Gives the firmware other variables, while the machine is off.</summary>
    public void ResetVariables(string from) => File.Copy(from, VariablesPath, overwrite: true);

    /// <summary>Reads a file of the EFI system partition.</summary>
    public async Task<byte[]> ReadBootFileAsync(string name)
    {
        var path = System.IO.Path.Combine(_folder, "boot-file");
        await CopyAsync($"::{name}", path);
        return await File.ReadAllBytesAsync(path);
    }

    /// <summary>Writes a file of the EFI system partition, while the machine is off.</summary>
    public async Task WriteBootFileAsync(string name, byte[] content)
    {
        var path = System.IO.Path.Combine(_folder, "boot-file");
        await File.WriteAllBytesAsync(path, content);
        await CopyAsync(path, $"::{name}");
    }

    private async Task CopyAsync(string from, string to) =>
        await ToolProcess.RunAsync("mcopy", _folder, ["-n", "-o", "-i", $"{Path}@@{BootPartition}", from, to], tcti: null);

    private static async Task<string> BuildAsync()
    {
        var root = System.IO.Path.GetFullPath(System.IO.Path.Combine(AppContext.BaseDirectory, "..", "..", "..", ".."));
        return (await ToolProcess.RunAsync(System.IO.Path.Combine(root, "tests", "vm", "build"), root, [Published.Agent], tcti: null, BuildTimeout)).Trim();
    }
}
