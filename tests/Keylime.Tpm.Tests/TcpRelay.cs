using System.Net;
using System.Net.Sockets;

namespace Keylime.Tpm.Tests;

/// <summary>Passes TCP connections, on a port of the system's choice, on to a Unix socket.</summary>
internal sealed class TcpRelay : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    public static TcpRelay Start(string socketPath)
    {
        var relay = new TcpRelay();
        relay._listener.Start();
        _ = relay.AcceptAsync(socketPath);
        return relay;
    }

    public void Dispose()
    {
        _stop.Cancel();
        _listener.Dispose();
        _stop.Dispose();
    }

    private async Task AcceptAsync(string socketPath)
    {
        try
        {
            while (true)
            {
                using var client = await _listener.AcceptSocketAsync(_stop.Token);
                using var swtpm = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await swtpm.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), _stop.Token);
                await using var from = new NetworkStream(client);
                await using var to = new NetworkStream(swtpm);
                await Task.WhenAny(from.CopyToAsync(to, _stop.Token), to.CopyToAsync(from, _stop.Token));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // stopped
        }
    }
}
