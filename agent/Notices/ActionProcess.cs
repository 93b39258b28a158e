using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace Keylime.Agent.Notices;

/// <summary>
/// Runs one local action: the file that is open, with the notice on standard input, no arguments, nothing but PATH in its environment, and as the user that the agent is, which cannot become
/// another one. It is the only program that the agent starts.
/// </summary>
internal static class ActionProcess
{
    public static readonly TimeSpan Timeout = TimeSpan.FromSeconds(60);

    private const string SearchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    private const string Name = "keylime-action";
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(20);

    /// <returns>What went wrong; <see langword="null"/> where it ended with 0.</returns>
    /// <exception cref="OperationCanceledException">The agent stops; so was the action.</exception>
    public static async Task<string?> RunAsync(SafeFileHandle program, byte[] input, TimeProvider time, CancellationToken cancel)
    {
        int id;
        try
        {
            id = NativePrograms.Start(program, input, Name, SearchPath);
        }
        catch (IOException e)
        {
            return $"it cannot be started: {e.Message}";
        }

        using var limit = new CancellationTokenSource(Timeout, time);
        var killed = false;
        int? end;
        while ((end = NativePrograms.EndOf(id)) is null)
        {
            if (!killed && (limit.IsCancellationRequested || cancel.IsCancellationRequested))
            {
                NativePrograms.KillGroup(id);
                killed = true;
            }

            await Task.Delay(Poll, TimeProvider.System, CancellationToken.None); // a process runs by the real time, whatever a test's clock says
        }

        if (killed)
            cancel.ThrowIfCancellationRequested();
        return killed ? string.Create(CultureInfo.InvariantCulture, $"it was not done within {Timeout.TotalSeconds} s, and was killed")
            : end == 0 ? null
            : string.Create(CultureInfo.InvariantCulture, $"it ended with {end}");
    }
}
