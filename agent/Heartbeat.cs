using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Keylime.Agent;

/// <summary>
/// Tells systemd that the agent is at work (sd_notify(3)). Before each pause the loop says when it will be back; once that has gone by, nothing is told
/// any more, and systemd starts the agent anew.
/// </summary>
internal sealed class Heartbeat : IDisposable
{
    private static readonly TimeSpan Grace = TimeSpan.FromMinutes(10); // a TPM, a long list and a thin line together take their time

    private readonly string? _socket;
    private readonly TimeProvider _time;
    private readonly ITimer? _timer;
    private long _start;
    private TimeSpan _allowed = Grace;

    /// <param name="environment">Where NOTIFY_SOCKET and WATCHDOG_USEC are looked up.</param>
    public Heartbeat(Func<string, string?> environment, TimeProvider time)
    {
        (_socket, _time, _start) = (environment("NOTIFY_SOCKET"), time, time.GetTimestamp());
        if (_socket is null)
            return;
        Send("READY=1");
        if (long.TryParse(environment("WATCHDOG_USEC"), NumberStyles.None, CultureInfo.InvariantCulture, out var microseconds) && microseconds > 0)
        {
            var half = TimeSpan.FromMicroseconds(microseconds) / 2;
            _timer = time.CreateTimer(_ => Beat(), null, half, half);
        }
    }

    /// <summary>The next sign of life is within this, and some grace.</summary>
    public void Expect(TimeSpan within)
    {
        _start = _time.GetTimestamp();
        _allowed = within + Grace;
    }

    public void Dispose()
    {
        _timer?.Dispose();
        Send("STOPPING=1");
    }

    private void Beat()
    {
        if (_time.GetElapsedTime(_start) < _allowed)
            Send("WATCHDOG=1");
    }

    private void Send(string state)
    {
        if (_socket is not { Length: > 0 } path)
            return;
        try
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
            var name = path[0] == '@' ? '\0' + path[1..] : path; // the abstract namespace
            socket.SendTo(Encoding.ASCII.GetBytes(state), new UnixDomainSocketEndPoint(name));
        }
        catch (SocketException)
        {
            // systemd is not there any more; that is its own matter
        }
    }
}
