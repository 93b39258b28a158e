using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Keylime.Agent.Notices;

/// <summary>
/// Runs one local action: the file that is open, with the notice on standard input, no arguments, nothing but PATH in its environment, and as the user that the agent is, which cannot become
/// another one. It is the only program that the agent starts.
/// </summary>
internal static class ActionProcess
{
    public static readonly TimeSpan Timeout = TimeSpan.FromSeconds(60);

    private const string SearchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    private const int MaxOutput = 400; // characters that are logged, of each stream
    private static readonly TimeSpan Drain = TimeSpan.FromSeconds(1);

    /// <returns>What went wrong; <see langword="null"/> where it ended with 0.</returns>
    /// <exception cref="OperationCanceledException">The agent stops; so was the action.</exception>
    public static async Task<string?> RunAsync(SafeFileHandle program, byte[] input, TimeProvider time, CancellationToken cancel)
    {
        var start = new ProcessStartInfo(string.Create(CultureInfo.InvariantCulture, $"/proc/self/fd/{program.DangerousGetHandle()}"))
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = "/",
        };
        start.Environment.Clear();
        start.Environment["PATH"] = SearchPath;
        using var limit = new CancellationTokenSource(Timeout, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancel);
        using var draining = new CancellationTokenSource();
        try
        {
            using var process = Process.Start(start)!;
            var output = ReadAsync(process.StandardOutput, draining.Token);
            var errors = ReadAsync(process.StandardError, draining.Token);
            try
            {
                await WriteAsync(process, input, either.Token);
                await process.WaitForExitAsync(either.Token);
            }
            catch (OperationCanceledException)
            {
                process.Kill(entireProcessTree: true);
                cancel.ThrowIfCancellationRequested();
                return string.Create(CultureInfo.InvariantCulture, $"it was not done within {Timeout.TotalSeconds} s, and was killed");
            }
            finally
            {
                draining.CancelAfter(Drain); // somebody whom it left behind may have its streams still
            }

            var said = string.Concat(await errors, " ", await output).Trim();
            return process.ExitCode == 0 ? null : string.Create(CultureInfo.InvariantCulture, $"it ended with {process.ExitCode}: {said}");
        }
        catch (Win32Exception e)
        {
            return $"it cannot be started: {e.Message}";
        }
        finally
        {
            GC.KeepAlive(program);
        }
    }

    private static async Task WriteAsync(Process process, byte[] input, CancellationToken cancel)
    {
        try
        {
            await process.StandardInput.BaseStream.WriteAsync(input, cancel);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // it does not read what it is told; that is its own matter
        }
    }

    // To the end, so that it is never kept waiting; its start alone is kept.
    private static async Task<string> ReadAsync(StreamReader stream, CancellationToken cancel)
    {
        var start = new StringBuilder();
        var buffer = new char[1024];
        try
        {
            while (await stream.ReadAsync(buffer, cancel) is var read and > 0)
                start.Append(buffer, 0, Math.Min(read, MaxOutput - start.Length));
        }
        catch (Exception e) when (e is OperationCanceledException or IOException)
        {
            // what came is enough
        }

        return start.ToString();
    }
}
