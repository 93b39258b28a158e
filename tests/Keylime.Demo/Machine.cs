using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Demo;

/// <summary>One node: a software TPM with an endorsement certificate, a measurement list that really extends its PCR 10, and an agent.</summary>
internal sealed class Machine : IAsyncDisposable
{
    private readonly Swtpm _swtpm;
    private readonly TpmClient _tpm;
    private readonly ImaEmulator _ima;

    private Machine(string name, string folder, Swtpm swtpm)
    {
        (Name, Folder, _swtpm, TpmSocket) = (name, folder, swtpm, swtpm.SocketPath);
        _tpm = swtpm.OpenClient();
        _ima = new ImaEmulator(LogPath, _tpm, TpmAlgorithm.Sha1, TpmAlgorithm.Sha256);
    }

    public string Name { get; }

    public string Folder { get; }

    public string LogPath => Path.Combine(Folder, "ascii_runtime_measurements");

    public string CaCertificatePem => _swtpm.CaCertificatePem ?? throw new DemoException("The software TPM has no certificate authority.");

    /// <summary>Where the next agent finds the TPM.</summary>
    public string TpmSocket { get; set; }

    /// <summary>The agent that was started last.</summary>
    public Process? Agent { get; private set; }

    /// <summary>Powers a new machine on, and lets it run some programs.</summary>
    public static async Task<Machine> BootAsync(string name, string folder, IEnumerable<string> files, CancellationToken cancel)
    {
        Directory.CreateDirectory(folder);
        var swtpm = await Swtpm.StartAsync(new SwtpmOptions { PcrBanks = "sha1,sha256", EkCertificate = true, EccEkCertificate = true }, cancel);
        var machine = new Machine(name, folder, swtpm);
        await machine._ima.StartAsync(cancel);
        foreach (var file in files)
            await machine._ima.MeasureFileAsync(file, cancel);
        return machine;
    }

    /// <summary>Measures so many files that are not there: only their names and digests matter.</summary>
    public async Task MeasureManyAsync(int count, CancellationToken cancel)
    {
        for (var i = 0; i < count; i++)
        {
            var (path, digest) = Example(i);
            await _ima.MeasureAsync(digest, Encoding.ASCII.GetBytes(path), cancel);
        }
    }

    /// <summary>One of the files that are not there.</summary>
    public static (string Path, byte[] Digest) Example(int i)
    {
        var path = $"/usr/lib/x86_64-linux-gnu/libexample-{i}.so";
        return (path, SHA256.HashData(Encoding.ASCII.GetBytes(path)));
    }

    /// <summary>What the maker of a device does in the factory: certificates for its IAK and IDevID, where the agent looks for them.</summary>
    /// <returns>The maker's root, as PEM.</returns>
    public async Task<string> CertifyDeviceAsync(string template, CancellationToken cancel)
    {
        var home = Directory.CreateDirectory(Path.Combine(Folder, "keylime"));
        foreach (var (key, file) in ((PublicArea, string)[])[(KeyTemplates.Iak(template), "iak-cert.crt"), (KeyTemplates.IDevId(template), "idevid-cert.crt")])
        {
            var made = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, key, cancel);
            await _tpm.FlushContextAsync(made.Handle, cancel);
            await File.WriteAllTextAsync(Path.Combine(home.FullName, file), TestCertificates.IssueDevice(made.Public).ExportCertificatePem(), cancel);
        }

        return TestCertificates.Root.ExportCertificatePem();
    }

    /// <summary>Runs the agent's program for one command, to its end.</summary>
    public async Task<(int Exit, string Output)> RunAgentAsync(Programs programs, string command, CancellationToken cancel)
    {
        var process = programs.Run("Keylime.Agent", "keylime-agent", command, "--config", Path.Combine(Folder, "agent.conf"));
        var output = await process.StandardOutput.ReadToEndAsync(cancel);
        await process.WaitForExitAsync(cancel);
        return (process.ExitCode, output);
    }

    public Task MeasureFileAsync(string path, CancellationToken cancel) => _ima.MeasureFileAsync(path, cancel);

    /// <param name="more">More lines for the configuration.</param>
    public void StartAgent(Programs programs, string serviceUrl, string caPath, params IEnumerable<string> more)
    {
        var config = Path.Combine(Folder, "agent.conf");
        var home = Directory.CreateDirectory(Path.Combine(Folder, "keylime"));
        File.WriteAllText(config, $"""
            [agent]
            uuid = "{Name}"
            verifier_url = "{serviceUrl}"
            verifier_tls_ca_cert = "{caPath}"
            keylime_dir = "{home.FullName}"
            ima_ml_path = "{LogPath}"
            tpm = "swtpm:path={TpmSocket}"
            exponential_backoff_initial_delay = 500
            exponential_backoff_max_delay = 2000
            {string.Join('\n', more)}

            """);
        Agent = programs.Start("Keylime.Agent", "keylime-agent", $"{Name}.log", "run", "--config", config);
    }

    /// <summary>Pulls the plug of the agent: no farewell.</summary>
    public void KillAgent() => Agent?.Kill();

    public async ValueTask DisposeAsync()
    {
        await _tpm.DisposeAsync();
        await _swtpm.DisposeAsync();
    }
}
