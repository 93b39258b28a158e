using System.Diagnostics;
using Keylime.Tpm;

namespace Keylime.Testing;

/// <summary>
/// A software TPM: a real swtpm of its own, in a folder of its own, behind a Unix socket. Any number of programs may use it at
/// the same time, a command each in turn; but what one leaves loaded takes memory from all.
/// </summary>
public sealed class Swtpm : IAsyncDisposable
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(20);

    // Gives a tool of tpm2-tools its way to a Unix socket, which its own transport for swtpm does not have (before version 4.1 of
    // tpm2-tss). Perl's base package is on every Debian.
    private const string Relay = """
        use strict; use warnings; use IO::Socket::UNIX;
        my $tpm;
        sub take { my ($from, $size) = @_; my $got = '';
            while (length($got) < $size) { sysread($from, $got, $size - length($got), length($got)) or exit 0; }
            return $got; }
        sub packet { my ($from) = @_; my $head = take($from, 10); return $head . take($from, unpack('N', substr($head, 2, 4)) - 10); }
        while (1) {
            my $command = packet(\*STDIN);
            $tpm = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $ARGV[0]) or die "swtpm: $!";
            syswrite($tpm, $command); syswrite(STDOUT, packet($tpm)); close($tpm);
        }

        """;

    private readonly string _state;
    private Process? _process;

    private Swtpm(string folder)
    {
        Folder = folder;
        _state = Path.Combine(folder, "state");
        SocketPath = Path.Combine(folder, "tpm.sock");
        ControlPath = Path.Combine(folder, "ctrl.sock");
        RelayPath = Path.Combine(folder, "relay.pl");
    }

    /// <summary>A temporary folder, deleted with this; tools run in it.</summary>
    public string Folder { get; }

    public string SocketPath { get; }

    /// <summary>For <see cref="TpmDevices.Open"/>.</summary>
    public string Spec => $"swtpm:path={SocketPath}";

    /// <summary>For tpm2-tools: the value of TPM2TOOLS_TCTI.</summary>
    public string Tcti => $"cmd:perl {RelayPath} {SocketPath}";

    /// <summary>The root that signed the endorsement certificates, as PEM; null without one.</summary>
    public string? CaCertificatePem { get; private set; }

    private string ControlPath { get; }

    private string RelayPath { get; }

    private string LogPath => Path.Combine(Folder, "swtpm.log");

    /// <summary>Makes a new TPM and powers it on: it is started, and its PCRs are as after a boot that measured nothing.</summary>
    public static async Task<Swtpm> StartAsync(SwtpmOptions? options, CancellationToken cancel)
    {
        options ??= new SwtpmOptions();
        var swtpm = new Swtpm(Directory.CreateTempSubdirectory("swtpm-").FullName);
        try
        {
            Directory.CreateDirectory(swtpm._state);
            await File.WriteAllTextAsync(swtpm.RelayPath, Relay, cancel);
            var factory = new SwtpmFactory(swtpm.Folder);
            swtpm.CaCertificatePem = await factory.MakeAsync(swtpm._state, options);
            await swtpm.PowerOnAsync(cancel);
            if (options.EccEkCertificate)
                await factory.CertifyEccKeyAsync(swtpm, cancel);
            return swtpm;
        }
        catch
        {
            await swtpm.DisposeAsync();
            throw;
        }
    }

    /// <summary>A client of this TPM. It holds no connection, so disposing of it is only good manners.</summary>
    public TpmClient OpenClient() => new(TpmDevices.Open(Spec));

    /// <summary>Runs a program of tpm2-tools on this TPM, in <see cref="Folder"/>, and gives what it wrote on its standard output.</summary>
    /// <remarks>The tools leave objects loaded, of which a TPM holds three: <c>tpm2_flushcontext -t</c>.</remarks>
    public Task<string> RunToolAsync(string tool, params string[] args) => ToolProcess.RunAsync(tool, Folder, args, Tcti);

    /// <summary>Power off and on again after an orderly shutdown: the reset count goes up, the PCRs start anew.</summary>
    public Task ResetAsync() => CycleAsync(keepState: false);

    /// <summary>Suspend to memory and resume: the restart count goes up, the PCRs stay.</summary>
    public Task SuspendAndResumeAsync() => CycleAsync(keepState: true);

    /// <summary>Ends the swtpm.</summary>
    /// <param name="shutdown">False pulls the plug: without TPM2_Shutdown, the next start counts towards the lockout.</param>
    public async Task StopAsync(bool shutdown)
    {
        if (_process is not { } process)
            return;

        _process = null;
        if (shutdown && !process.HasExited)
            await TryShutdownAsync();
        process.Kill(entireProcessTree: true);
        await process.WaitForExitAsync(CancellationToken.None);
        process.Dispose();
        File.Delete(SocketPath);
        File.Delete(ControlPath);
    }

    /// <summary>Starts the swtpm again after <see cref="StopAsync"/>, on the same socket, with the same keys.</summary>
    public async Task PowerOnAsync(CancellationToken cancel)
    {
        var process = StartProcess("--server", $"type=unixio,path={SocketPath}", "--flags", "not-need-init");
        await using var tpm = OpenClient();
        for (var left = StartTimeout; ; left -= Poll)
        {
            try
            {
                await tpm.StartupAsync(keepState: false, cancel);
                return;
            }
            catch (TpmDeviceException e)
            {
                if (process.HasExited || left <= TimeSpan.Zero)
                    throw new InvalidOperationException($"swtpm did not start: {await ReadLogAsync()}", e);
            }

            await Task.Delay(Poll, TimeProvider.System, cancel);
        }
    }

    /// <summary>
    /// Starts the swtpm again after <see cref="StopAsync"/>, for a virtual machine: its power is that machine's, and so is every command.
    /// </summary>
    /// <returns>The socket of its control channel, for QEMU's <c>-chardev socket</c>.</returns>
    public async Task<string> PowerOnForMachineAsync(CancellationToken cancel)
    {
        var process = StartProcess();
        for (var left = StartTimeout; !File.Exists(ControlPath); left -= Poll)
        {
            if (process.HasExited || left <= TimeSpan.Zero)
                throw new InvalidOperationException($"swtpm did not start: {await ReadLogAsync()}");
            await Task.Delay(Poll, TimeProvider.System, cancel);
        }

        return ControlPath;
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync(shutdown: true);
        Directory.Delete(Folder, recursive: true);
    }

    private Process StartProcess(params IEnumerable<string> more)
    {
        _process = ToolProcess.Start(
            "swtpm",
            Folder,
            ["socket", "--tpm2", "--tpmstate", $"dir={_state}", "--ctrl", $"type=unixio,path={ControlPath}", "--log", $"file={LogPath}", .. more],
            tcti: null);
        _process.OutputDataReceived += static (_, _) => { };
        _process.ErrorDataReceived += static (_, _) => { };
        _process.BeginOutputReadLine(); // read, so that it never waits for a reader
        _process.BeginErrorReadLine();
        return _process;
    }

    private async Task CycleAsync(bool keepState)
    {
        await using var tpm = OpenClient();
        await tpm.ShutdownAsync(keepState, CancellationToken.None);
        await SwtpmControl.InitializeAsync(ControlPath, CancellationToken.None);
        await tpm.StartupAsync(keepState, CancellationToken.None);
    }

    private async Task TryShutdownAsync()
    {
        try
        {
            await using var tpm = OpenClient();
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(5), TimeProvider.System);
            await tpm.ShutdownAsync(keepState: false, limit.Token);
        }
        catch (Exception e) when (e is TpmDeviceException or TpmRefusedException or OperationCanceledException)
        {
            // it is going to be killed anyway
        }
    }

    private async Task<string> ReadLogAsync() => File.Exists(LogPath) ? await File.ReadAllTextAsync(LogPath) : "it wrote no log.";
}
