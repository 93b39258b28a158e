using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace Keylime.FunctionsHost;

/// <summary>
/// The program of a custom handler, as the host runs it: one process, on a loopback port that the environment names, ready when it answers anything at <c>/</c>. It ends by SIGKILL. Three ends by
/// itself within half an hour, and the host gives up; an end with 0 is taken for what was wanted, and nothing is started again.
/// </summary>
internal sealed class Handler : IAsyncDisposable
{
    private const int MaxErrors = 3;
    private const int IntendedRestart = 200;
    private static readonly TimeSpan ReadinessPoll = TimeSpan.FromMilliseconds(25);
    private static readonly TimeSpan InitializationTimeout = TimeSpan.FromSeconds(30);

    private readonly FunctionApp _app;
    private readonly IReadOnlyDictionary<string, string> _settings;
    private readonly HttpClient _poll = new() { Timeout = TimeSpan.FromSeconds(5) };
    private Process? _process;
    private Task _watch = Task.CompletedTask;
    private int _errors;
    private bool _ending;

    public Handler(FunctionApp app, IReadOnlyDictionary<string, string> settings) => (_app, _settings) = (app, settings);

    public int Port { get; private set; }

    public Uri Url => new($"http://127.0.0.1:{Port}");

    /// <summary>How long the last start took, to the first answer.</summary>
    public TimeSpan StartedWithin { get; private set; }

    public int Restarts { get; private set; }

    /// <summary>Why the host gave up, if it did.</summary>
    public string? GaveUp { get; private set; }

    /// <summary>What the handler wrote: lines of standard output are information, lines of standard error are errors.</summary>
    public ConcurrentQueue<(bool Error, string Line)> Log { get; } = new();

    public int ProcessId => _process?.Id ?? throw new InvalidOperationException("No handler runs.");

    /// <summary>Peak of resident memory, in bytes.</summary>
    public long PeakMemory
    {
        get
        {
            _process!.Refresh();
            return _process.PeakWorkingSet64;
        }
    }

    public async Task StartAsync(CancellationToken cancel)
    {
        Port = FreePort();
        var start = new ProcessStartInfo(_app.Executable) { WorkingDirectory = _app.Root, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var name in start.Environment.Keys.Where(static k => k.StartsWith("KEYLIME_", StringComparison.Ordinal)).ToArray())
            start.Environment.Remove(name);
        foreach (var (name, value) in _settings)
            start.Environment[name] = value;
        var port = Port.ToString(System.Globalization.CultureInfo.InvariantCulture);
        foreach (var name in (string[])["FUNCTIONS_CUSTOMHANDLER_PORT", "FUNCTIONS_HTTPWORKER_PORT"])
            start.Environment[name] = port;
        foreach (var name in (string[])["FUNCTIONS_CUSTOMHANDLER_WORKER_ID", "FUNCTIONS_HTTPWORKER_ID"])
            start.Environment[name] = $"{Guid.NewGuid()}";
        start.Environment["FUNCTIONS_APP_ROOT_PATH"] = _app.Root;
        var process = Process.Start(start) ?? throw new InvalidOperationException("The handler did not start.");
        process.OutputDataReceived += (_, line) => Keep(false, line.Data);
        process.ErrorDataReceived += (_, line) => Keep(true, line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        _process = process;
        _watch = WatchAsync(process);
        await ReadyAsync(process, cancel);
    }

    /// <summary>As the host does whenever it ends a handler: without a word.</summary>
    public async Task KillAsync()
    {
        _ending = true;
        _process!.Kill();
        await _watch;
        _ending = false;
    }

    public async Task RestartAsync(CancellationToken cancel)
    {
        await KillAsync();
        Restarts++;
        await StartAsync(cancel);
    }

    public async ValueTask DisposeAsync()
    {
        if (_process is { HasExited: false })
            await KillAsync();
        await _watch;
        _process?.Dispose();
        _poll.Dispose();
    }

    private async Task ReadyAsync(Process process, CancellationToken cancel)
    {
        var start = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(start) < InitializationTimeout && !process.HasExited)
        {
            try
            {
                using var answer = await _poll.GetAsync(new Uri(Url, "/"), cancel); // whatever it says
                StartedWithin = Stopwatch.GetElapsedTime(start);
                return;
            }
            catch (HttpRequestException)
            {
                await Task.Delay(ReadinessPoll, cancel);
            }
        }

        throw new InvalidOperationException($"The handler was not ready within {InitializationTimeout.TotalSeconds:0} s. Its last lines: {string.Join('\n', Log.TakeLast(5).Select(static l => l.Line))}");
    }

    private async Task WatchAsync(Process process)
    {
        await process.WaitForExitAsync(CancellationToken.None);
        if (_ending)
            return;
        switch (process.ExitCode)
        {
            case 0:
                GaveUp = "It ended with 0, which the host takes for what was wanted: nothing is started again.";
                return;
            case IntendedRestart:
                break;
            case var _ when ++_errors >= MaxErrors:
                GaveUp = $"It ended {MaxErrors} times; the last time with {process.ExitCode}.";
                return;
        }

        Restarts++;
        try
        {
            await StartAsync(CancellationToken.None);
        }
        catch (InvalidOperationException e)
        {
            GaveUp = e.Message;
        }
    }

    private void Keep(bool error, string? line)
    {
        if (line is not null)
            Log.Enqueue((error, line));
    }

    // As the host does it: a port that was free a moment ago.
    private static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }
}
