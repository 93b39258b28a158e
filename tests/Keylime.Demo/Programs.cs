using System.Diagnostics;

namespace Keylime.Demo;

/// <summary>Our three programs, as the build left them beside this one, and the processes started of them: all end with this.</summary>
/// <param name="folder">Where they run, and where their logs go.</param>
/// <param name="agent">Another build of the agent, where it is that one that matters.</param>
internal sealed class Programs(string folder, string? agent = null) : IAsyncDisposable
{
    private static readonly TimeSpan ToolTimeout = TimeSpan.FromSeconds(30);

    private readonly List<Process> _running = [];

    // artifacts/bin/<project>/<configuration>/
    private static readonly string Configuration = new DirectoryInfo(AppContext.BaseDirectory).Name;
    private static readonly string Bin = Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", ".."));

    /// <summary>Starts a program that goes on, with its output in a file.</summary>
    public Process Start(string project, string program, string log, params IReadOnlyList<string> args)
    {
        var process = Process.Start(Describe(project, program, args))
            ?? throw new DemoException($"{program} did not start.");
        _ = DrainAsync(process, Path.Combine(folder, log));
        _running.Add(process);
        return process;
    }

    /// <summary>Starts a program whose output the caller reads.</summary>
    public Process Run(string project, string program, params IReadOnlyList<string> args)
    {
        var process = Process.Start(Describe(project, program, args)) ?? throw new DemoException($"{program} did not start.");
        _running.Add(process);
        return process;
    }

    /// <summary>Runs the operator's tool on this terminal, until it ends.</summary>
    public async Task<int> ShowAsync(CancellationToken cancel, params IReadOnlyList<string> args)
    {
        var start = Describe("Keylime.Tenant", "keylime", args);
        (start.RedirectStandardOutput, start.RedirectStandardError) = (false, false);
        using var process = Process.Start(start) ?? throw new DemoException("keylime did not start.");
        try
        {
            await process.WaitForExitAsync(cancel);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            await process.WaitForExitAsync(CancellationToken.None);
        }

        return process.ExitCode;
    }

    /// <summary>Runs the operator's tool to its end.</summary>
    public async Task<(int Exit, string Output, string Errors)> KeylimeAsync(CancellationToken cancel, params IReadOnlyList<string> args)
    {
        using var process = Process.Start(Describe("Keylime.Tenant", "keylime", args)) ?? throw new DemoException("keylime did not start.");
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(ToolTimeout);
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(limit.Token);
            var errors = process.StandardError.ReadToEndAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token);
            return (process.ExitCode, await output, await errors);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            process.Kill();
            throw new DemoException($"keylime {string.Join(' ', args)} did not end within {ToolTimeout.TotalSeconds} s.");
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var process in _running.Where(p => !p.HasExited))
            process.Kill();
        foreach (var process in _running)
        {
            await process.WaitForExitAsync(CancellationToken.None);
            process.Dispose();
        }
    }

    private ProcessStartInfo Describe(string project, string program, IReadOnlyList<string> args)
    {
        var path = program == "keylime-agent" && agent is not null ? agent : Path.Combine(Bin, project, Configuration, program);
        var start = new ProcessStartInfo(path, args)
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment = { ["XDG_CONFIG_HOME"] = Path.Combine(folder, "config") },
        };
        // Whatever the one who runs this has set for other services must not get in here.
        foreach (var name in start.Environment.Keys.Where(k => k.StartsWith("KEYLIME_", StringComparison.Ordinal)).ToArray())
            start.Environment.Remove(name);
        return start;
    }

    private static async Task DrainAsync(Process process, string log)
    {
        await using var file = new StreamWriter(log) { AutoFlush = true };
        process.OutputDataReceived += static (_, _) => { };
        process.BeginOutputReadLine();
        try
        {
            while (await process.StandardError.ReadLineAsync() is { } line)
                await file.WriteLineAsync(line);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or InvalidOperationException)
        {
            // the process has gone, and the demonstration with it
        }
    }
}
