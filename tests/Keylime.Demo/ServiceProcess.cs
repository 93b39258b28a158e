using System.Diagnostics;

namespace Keylime.Demo;

/// <summary>A service of its own, in a process of its own, on a port that is free.</summary>
internal sealed class ServiceProcess
{
    private readonly string _data;

    private ServiceProcess(string data, string url, Process process) => (_data, Url, Process) = (data, url, process);

    public string Url { get; }

    public Process Process { get; }

    public string CaPath => Path.Combine(_data, "ca.pem");

    /// <param name="listen">To start again where an earlier one listened.</param>
    public static async Task<ServiceProcess> StartAsync(Programs programs, string data, int intervalSeconds, CancellationToken cancel, string listen = "https://127.0.0.1:0",
        params IReadOnlyList<string> more)
    {
        var urlPath = Path.Combine(data, "url");
        if (File.Exists(urlPath))
            File.Delete(urlPath); // of one that was killed
        var process = programs.Start("Keylime.Functions", "Keylime.Functions", "service.log", ["--data", data, "--listen", listen, "--interval", $"{intervalSeconds}", .. more]);
        for (var i = 0; i < 300 && !process.HasExited; i++)
        {
            if (File.Exists(urlPath))
                return new ServiceProcess(data, (await File.ReadAllTextAsync(urlPath, cancel)).Trim(), process);
            await Task.Delay(100, cancel);
        }

        throw new DemoException("The service did not start.");
    }

    /// <summary>Makes the root that signed a machine's endorsement certificate one of those that are trusted.</summary>
    public Task TrustAsync(Machine machine, CancellationToken cancel) =>
        File.WriteAllTextAsync(Path.Combine(_data, "trust", $"{machine.Name}.pem"), machine.CaCertificatePem, cancel);

    public Task LoginAsync(Fleet fleet, CancellationToken cancel) =>
        fleet.DoAsync(cancel, "login", "--url", Url, "--ca", CaPath, "--token-file", Path.Combine(_data, "operator.token"));
}
