using System.Net.Sockets;

namespace Keylime.Benchmarks.Processes;

/// <summary>Stands between a program and what it talks to, passes every byte on, and counts.</summary>
internal sealed class CountingRelay : IAsyncDisposable
{
    private const int Chunk = 64 * 1024;

    private readonly CancellationTokenSource _over = new();
    private readonly Socket _listener;
    private readonly Task _work;
    private long _sent;
    private long _received;

    private CountingRelay(Socket listener, Func<Socket> connect, Action<ReadOnlySpan<byte>>? sees)
    {
        _listener = listener;
        _work = Task.Run(() => AcceptAsync(connect, sees));
    }

    /// <summary>Bytes to and from what stands behind.</summary>
    public (long Sent, long Received) Counted => (Interlocked.Read(ref _sent), Interlocked.Read(ref _received));

    /// <summary>Before a server on the loopback.</summary>
    /// <returns>The relay, and the URL that takes the place of the server's.</returns>
    public static (CountingRelay Relay, Uri Url) Before(Uri url)
    {
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new System.Net.IPEndPoint(System.Net.IPAddress.Loopback, 0));
        listener.Listen();
        var relay = new CountingRelay(listener, () =>
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            socket.Connect(System.Net.IPAddress.Loopback, url.Port);
            return socket;
        }, null);
        return (relay, new UriBuilder(url) { Host = "127.0.0.1", Port = ((System.Net.IPEndPoint)listener.LocalEndPoint!).Port }.Uri);
    }

    /// <summary>Before a server on a Unix socket.</summary>
    /// <param name="path">Of the socket that takes the place of the server's.</param>
    /// <param name="sees">What is sent, of one connection after the other.</param>
    public static CountingRelay Before(string server, string path, Action<ReadOnlySpan<byte>> sees)
    {
        var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen();
        return new CountingRelay(listener, () =>
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            socket.Connect(new UnixDomainSocketEndPoint(server));
            return socket;
        }, sees);
    }

    public async ValueTask DisposeAsync()
    {
        await _over.CancelAsync();
        _listener.Dispose();
        await _work;
        _over.Dispose();
    }

    private async Task AcceptAsync(Func<Socket> connect, Action<ReadOnlySpan<byte>>? sees)
    {
        var running = new List<Task>();
        try
        {
            while (true)
            {
                var client = await _listener.AcceptAsync(_over.Token);
                running.RemoveAll(static t => t.IsCompleted);
                running.Add(Task.Run(() => RelayAsync(client, connect, sees)));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            await Task.WhenAll(running);
        }
    }

    private async Task RelayAsync(Socket client, Func<Socket> connect, Action<ReadOnlySpan<byte>>? sees)
    {
        using var near = client;
        try
        {
            using var far = connect();
            await Task.WhenAll(
                CopyAsync(near, far, bytes =>
                {
                    sees?.Invoke(bytes);
                    Interlocked.Add(ref _sent, bytes.Length);
                }),
                CopyAsync(far, near, bytes => Interlocked.Add(ref _received, bytes.Length)));
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // One side has gone; the other learns of it as its socket is closed.
        }
    }

    private async Task CopyAsync(Socket from, Socket to, Action<ReadOnlySpan<byte>> seen)
    {
        var buffer = new byte[Chunk];
        int read;
        while ((read = await from.ReceiveAsync(buffer, _over.Token)) > 0)
        {
            seen(buffer.AsSpan(0, read));
            for (var sent = 0; sent < read;)
                sent += await to.SendAsync(buffer.AsMemory(sent, read - sent), _over.Token);
        }

        to.Shutdown(SocketShutdown.Send);
    }
}
