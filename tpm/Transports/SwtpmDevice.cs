using System.Net.Sockets;

namespace Keylime.Tpm.Transports;

/// <summary>
/// swtpm's data socket, over TCP or a Unix socket. It serves one connection at a time, so each command has its own:
/// several programs can then share one software TPM, as they share a real one through the kernel.
/// </summary>
internal sealed class SwtpmDevice(Func<CancellationToken, ValueTask<Socket>> connect) : ITpmDevice
{
    public static SwtpmDevice Tcp(string host, int port) => new(async cancel =>
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        return await ConnectAsync(socket, () => socket.ConnectAsync(host, port, cancel)).ConfigureAwait(false);
    });

    public static SwtpmDevice Unix(string path) => new(async cancel =>
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        return await ConnectAsync(socket, () => socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancel)).ConfigureAwait(false);
    });

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    public async ValueTask<ReadOnlyMemory<byte>> SendAsync(ReadOnlyMemory<byte> command, CancellationToken cancel)
    {
        try
        {
            using var socket = await connect(cancel).ConfigureAwait(false);
            await using var stream = new NetworkStream(socket);
            await stream.WriteAsync(command, cancel).ConfigureAwait(false);
            return await ResponseReader.ReadAsync(stream, cancel).ConfigureAwait(false);
        }
        catch (SocketException e)
        {
            throw new IOException($"The software TPM cannot be reached: {e.Message}", e);
        }
    }

    private static async ValueTask<Socket> ConnectAsync(Socket socket, Func<ValueTask> connect)
    {
        try
        {
            await connect().ConfigureAwait(false);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
