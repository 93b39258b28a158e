using System.Diagnostics;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Keylime.Demo;

namespace Keylime.EndToEnd.Tests;

/// <summary>One of several instances of the service at one store: it is killed without a word, and started again where it was.</summary>
internal sealed class Instance(Programs programs, string folder, string name, IReadOnlyList<string> options) : IDisposable
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(60);

    private readonly List<Life> _lives = [];
    private Process? _process;
    private HttpClient? _client;

    public string Name => name;

    public string Data => Path.Combine(folder, name);

    /// <summary>To where it listens now; <see langword="null"/> while it does not run.</summary>
    public HttpClient? Client => Volatile.Read(ref _client);

    /// <summary>When it was killed.</summary>
    public IEnumerable<DateTimeOffset> Deaths => _lives.Where(static l => l.Died is not null).Select(static l => l.Died!.Value);

    public async Task StartAsync(CancellationToken cancel)
    {
        var url = Path.Combine(Data, "url");
        if (File.Exists(url))
            File.Delete(url); // of the life before
        var log = $"{name}-{_lives.Count}.log";
        _lives.Add(new Life(Path.Combine(folder, log)));
        _process = programs.Start("Keylime.Functions", "Keylime.Functions", log, ["--data", Data, "--listen", "https://127.0.0.1:0", .. options]);
        var start = TimeProvider.System.GetTimestamp();
        while (!File.Exists(url))
        {
            if (_process.HasExited || TimeProvider.System.GetElapsedTime(start) > StartTimeout)
                throw new DemoException($"The instance {name} did not start: {log}");
            await Task.Delay(50, cancel);
        }

        Volatile.Write(ref _client, ClientOf(new Uri((await File.ReadAllTextAsync(url, cancel)).Trim())));
    }

    public async Task KillAsync()
    {
        Volatile.Write(ref _client, null); // whoever has it meets a connection that breaks
        _process!.Kill();
        _lives[^1].Died = TimeProvider.System.GetUtcNow();
        await _process.WaitForExitAsync(CancellationToken.None);
    }

    /// <summary>What it logged: when, in which life, and the words.</summary>
    public IEnumerable<(DateTimeOffset At, int Life, string Words)> Lines()
    {
        foreach (var (number, life) in _lives.Index())
        {
            foreach (var text in Read(life.Log))
            {
                using var line = JsonDocument.Parse(text);
                yield return (line.RootElement.GetProperty("Timestamp").GetDateTimeOffset(), number, line.RootElement.GetProperty("Message").GetString()!);
            }
        }
    }

    /// <summary>When a life ended; the end of all times for the one that goes on.</summary>
    public DateTimeOffset EndOf(int life) => _lives[life].Died ?? DateTimeOffset.MaxValue;

    public void Dispose() => _client?.Dispose();

    // The last line of one that was killed may be cut off.
    private static string[] Read(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using var reader = new StreamReader(file);
        return [.. reader.ReadToEnd().Split('\n').Where(static l => l.StartsWith('{') && l.EndsWith('}'))];
    }

    private HttpClient ClientOf(Uri url)
    {
        var authority = X509Certificate2.CreateFromPem(File.ReadAllText(Path.Combine(Data, "ca.pem")));
        return new HttpClient(new SocketsHttpHandler
        {
            ConnectTimeout = TimeSpan.FromSeconds(5),
            SslOptions =
            {
                CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, CustomTrustStore = { authority }, RevocationMode = X509RevocationMode.NoCheck },
            },
        })
        { BaseAddress = url, Timeout = TimeSpan.FromSeconds(20) };
    }

    private sealed record Life(string Log)
    {
        public DateTimeOffset? Died { get; set; }
    }
}
