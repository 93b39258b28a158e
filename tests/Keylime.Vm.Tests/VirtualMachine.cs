using System.Diagnostics;
using Keylime.Testing;

namespace Keylime.Vm.Tests;

/// <summary>
/// A computer that really boots: QEMU's emulation of a q35 with OVMF and Secure Boot, a software TPM, a disk, and a network that ends at this host's loopback.
/// </summary>
/// <remarks>No KVM, no root, no bridge: what it needs is in Debian's packages alone.</remarks>
internal sealed class VirtualMachine : IAsyncDisposable
{
    // A boot takes some 35 s of one core.
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(8);
    private static readonly TimeSpan CommandLimit = TimeSpan.FromMinutes(2);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(50);

    private readonly Swtpm _tpm;
    private readonly Process _qemu;
    private readonly GuestLine _line;
    private readonly string _consolePath;

    private VirtualMachine(Swtpm tpm, Process qemu, GuestLine line, string consolePath) => (_tpm, _qemu, _line, _consolePath) = (tpm, qemu, line, consolePath);

    /// <summary>Switches it on; <see cref="WaitUpAsync"/> waits until it has booted.</summary>
    /// <param name="tpm">Its own while it runs; afterwards it may be another machine's with the same TPM.</param>
    /// <param name="folder">For its console and sockets.</param>
    /// <param name="given">What the machine finds by its name below <c>opt/keylime</c> of fw_cfg: files on this host.</param>
    public static async Task<VirtualMachine> StartAsync(
        Swtpm tpm, MachineDisk disk, string folder, IReadOnlyDictionary<string, string> given, CancellationToken cancel)
    {
        await tpm.StopAsync(shutdown: true);
        var tpmSocket = await tpm.PowerOnForMachineAsync(cancel);
        var (console, socket) = (Path.Combine(folder, "console.log"), Path.Combine(folder, "line.sock"));
        File.Delete(socket);
        var qemu = ToolProcess.Start("qemu-system-x86_64", folder, Arguments(tpmSocket, disk, console, socket, given), tcti: null);
        var machine = new VirtualMachine(tpm, qemu, new GuestLine(), console);
        try
        {
            while (!await machine._line.TryConnectAsync(socket, cancel))
            {
                if (qemu.HasExited)
                    throw new VmException($"QEMU ended with {qemu.ExitCode}: {await qemu.StandardError.ReadToEndAsync(cancel)}");
                await Task.Delay(Poll, TimeProvider.System, cancel);
            }

            return machine;
        }
        catch
        {
            await machine.DisposeAsync();
            throw;
        }
    }

    /// <summary>Waits until its programs run.</summary>
    public async Task WaitUpAsync(CancellationToken cancel) => await LimitAsync("booting", BootLimit, _line.WaitReadyAsync, cancel);

    /// <summary>Waits until its console has said something.</summary>
    public async Task WaitConsoleAsync(string text, CancellationToken cancel) => await LimitAsync($"'{text}'", BootLimit, async stop =>
    {
        while (!File.Exists(_consolePath) || !(await File.ReadAllTextAsync(_consolePath, stop)).Contains(text, StringComparison.Ordinal))
            await Task.Delay(Poll * 10, TimeProvider.System, stop);
    }, cancel);

    /// <summary>Runs a line of shell in the machine, as root, and gives what it wrote.</summary>
    /// <exception cref="VmException">It did not end with 0, or not in time.</exception>
    public async Task<string> RunAsync(string command, CancellationToken cancel)
    {
        var (exit, output) = await LimitAsync($"'{command}'", CommandLimit, stop => _line.RunAsync(command, stop), cancel);
        return exit == 0 ? output : throw new VmException($"'{command}' ended with {exit} in the machine: {output}");
    }

    /// <summary>Reads a file of the machine. What root reads from its disk is measured; what is in /proc, /sys and /run is not.</summary>
    public async Task<byte[]> ReadFileAsync(string path, CancellationToken cancel) =>
        Convert.FromBase64String((await RunAsync($"base64 {path}", cancel)).ReplaceLineEndings(""));

    /// <summary>The machine boots anew, with the TPM and the disk that it has.</summary>
    public async Task RebootAsync(CancellationToken cancel)
    {
        await _line.TellAsync("sync; reboot -f", cancel);
        await WaitUpAsync(cancel);
    }

    /// <summary>The machine switches itself off, in an orderly way.</summary>
    public async Task PowerOffAsync(CancellationToken cancel)
    {
        await _line.TellAsync("sync; poweroff -f", cancel);
        await LimitAsync("switching off", CommandLimit, _qemu.WaitForExitAsync, cancel);
    }

    public async ValueTask DisposeAsync()
    {
        await _line.DisposeAsync();
        if (!_qemu.HasExited)
            _qemu.Kill();
        await _qemu.WaitForExitAsync(CancellationToken.None);
        _qemu.Dispose();
        await _tpm.StopAsync(shutdown: false);
    }

    private async Task LimitAsync(string what, TimeSpan atMost, Func<CancellationToken, Task> work, CancellationToken cancel) =>
        await LimitAsync(what, atMost, async stop =>
        {
            await work(stop);
            return 0;
        }, cancel);

    private async Task<T> LimitAsync<T>(string what, TimeSpan atMost, Func<CancellationToken, Task<T>> work, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(atMost);
        try
        {
            return await work(limit.Token);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException && !cancel.IsCancellationRequested)
        {
            var why = e is IOException ? e.Message : $"It took more than {atMost.TotalSeconds:0} s.";
            throw new VmException($"{what}: {why} The end of the machine's console:\n{string.Join('\n', await ConsoleAsync())}");
        }
    }

    private async Task<IEnumerable<string>> ConsoleAsync() =>
        File.Exists(_consolePath) ? (await File.ReadAllLinesAsync(_consolePath, CancellationToken.None)).TakeLast(40) : ["it said nothing"];

    // Only the firmware's own mode may write its variables, or Secure Boot would protect nothing: smm, secure. romfile=: no boot from the network.
    private static IEnumerable<string> Arguments(
        string tpmSocket, MachineDisk disk, string console, string line, IReadOnlyDictionary<string, string> given) =>
    [
        "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35,smm=on,accel=tcg", "-cpu", "max", "-m", "512", "-smp", "1",
        "-global", "driver=cfi.pflash01,property=secure,value=on",
        "-drive", $"if=pflash,unit=0,format=raw,readonly=on,file={Firmware.Code}", "-drive", $"if=pflash,unit=1,format=raw,file={disk.VariablesPath}",
        "-chardev", $"socket,id=tpm,path={tpmSocket}", "-tpmdev", "emulator,id=tpm,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm",
        "-drive", $"if=none,id=disk,format=raw,file={disk.Path}", "-device", "virtio-blk-pci,drive=disk,bootindex=0",
        "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci",
        "-serial", $"file:{console}", "-serial", $"unix:{line},server=on,wait=off",
        .. given.SelectMany(g => (string[])["-fw_cfg", $"name=opt/keylime/{g.Key},file={g.Value}"]),
    ];
}
