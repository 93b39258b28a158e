using System.Diagnostics;
using Keylime.Benchmarks.Load;
using Keylime.Functions.Hosting;

namespace Keylime.Benchmarks.Processes;

/// <summary>The published service in a process of its own, on a data directory of its own, and on one core where that is asked for.</summary>
internal sealed class MeasuredService : IAsyncDisposable
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(2);

    private readonly Process _process;
    private readonly string _data;

    private MeasuredService(Process process, string data, Uri url) => (_process, _data, Url) = (process, data, url);

    public Uri Url { get; }

    public string CaPath => Path.Combine(_data, "ca.pem");

    public string OperatorToken => File.ReadAllText(Path.Combine(_data, "operator.token")).Trim();

    public string DatabasePath => Path.Combine(_data, "keylime.db");

    public int Id => _process.Id;

    public ProcessFigures Figures => ProcessFigures.Of(_process.Id);

    /// <summary>From the process's start to its first answer over TLS.</summary>
    public TimeSpan Start { get; private init; }

    /// <param name="core">The core that it is bound to, counted from 0; null for all.</param>
    /// <exception cref="BenchmarkException">It did not start.</exception>
    public static async Task<MeasuredService> StartAsync(string data, int? core, CancellationToken cancel, params IReadOnlyList<string> more)
    {
        var program = Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "publish", "Keylime.Functions", "release_linux-x64", "Keylime.Functions"));
        if (!File.Exists(program))
            throw new BenchmarkException($"{program} is not there: benchmarks/fleet publishes it, or dotnet publish functions -c Release -r linux-x64.");

        PrivateFiles.CreateFolder(data);
        var urlPath = Path.Combine(data, "url");
        File.Delete(urlPath);
        // The shell gives its output a file, and then becomes the service: nobody's processor time goes into reading what it logs.
        var start = new ProcessStartInfo("/bin/sh")
        {
            ArgumentList = { "-c", "log=$1; shift; exec \"$@\" >\"$log\" 2>&1", "sh", Path.Combine(data, "log") },
        };
        foreach (var argument in (IEnumerable<string>)[.. core is { } c ? ["taskset", "-c", $"{c}"] : (string[])[], program,
            "--data", data, "--listen", "https://127.0.0.1:0", "--accept-identity", "ek-key", .. more])
            start.ArgumentList.Add(argument);
        foreach (var name in start.Environment.Keys.Where(static k => k.StartsWith("KEYLIME_", StringComparison.Ordinal)).ToArray())
            start.Environment.Remove(name); // of other services

        var clock = TimeProvider.System;
        var began = clock.GetTimestamp();
        var process = Process.Start(start) ?? throw new BenchmarkException("The service did not start.");
        while (!process.HasExited && clock.GetElapsedTime(began) < StartTimeout)
        {
            if (File.Exists(urlPath) && (await File.ReadAllTextAsync(urlPath, cancel)).Trim() is { Length: > 0 } url)
            {
                using var client = new LoadClient(new Uri(url), Path.Combine(data, "ca.pem"), 1, keep: true);
                var answer = await client.SendAsync(HttpMethod.Get, "/version", null, null, cancel);
                return answer.Status == 200
                    ? new MeasuredService(process, data, new Uri(url)) { Start = clock.GetElapsedTime(began) }
                    : throw new BenchmarkException($"The service's first answer was {answer.Status}.");
            }

            await Task.Delay(Poll, cancel);
        }

        process.Kill();
        throw new BenchmarkException($"The service did not start: {await File.ReadAllTextAsync(Path.Combine(data, "log"), cancel)}");
    }

    /// <summary>Asks it to end, as the system does.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            using var ask = Process.Start("/bin/kill", [$"{_process.Id}"]);
            await ask.WaitForExitAsync(CancellationToken.None);
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(15));
            try
            {
                await _process.WaitForExitAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                _process.Kill();
                await _process.WaitForExitAsync(CancellationToken.None);
            }
        }

        _process.Dispose();
    }
}
