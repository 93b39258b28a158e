using System.Net;
using System.Net.Sockets;

namespace Keylime.Tpm.Transports;

/// <summary>
/// A swtpm behind a TCP or Unix socket, which speaks plain commands and responses. A connection lasts one command: swtpm serves
/// one connection at a time, and so several programs can share it.
/// </summary>
internal sealed class SwtpmDevice(EndPoint endPoint, TimeProvider clock) : ITpmDevice
{
    private const int MaxAttempts = 200;
    private static readonly TimeSpan AttemptDelay = TimeSpan.FromMilliseconds(50);

    public async ValueTask<ReadOnlyMemory<byte>> SendAsync(ReadOnlyMemory<byte> command, CancellationToken cancel)
    {
        try
        {
            using var socket = await ConnectAsync(cancel).ConfigureAwait(false);
            for (var rest = command; !rest.IsEmpty;)
                rest = rest[await socket.SendAsync(rest, cancel).ConfigureAwait(false)..];

            var header = new byte[ResponseFrame.HeaderSize];
            await ReceiveAsync(socket, header, cancel).ConfigureAwait(false);
            var response = new byte[ResponseFrame.ReadSize(header)];
            header.CopyTo(response, 0);
            await ReceiveAsync(socket, response.AsMemory(header.Length), cancel).ConfigureAwait(false);
            return response;
        }
        catch (SocketException e)
        {
            throw new TpmDeviceException($"The swtpm at {Describe()} cannot be reached: {e.Message}", e);
        }
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private async Task<Socket> ConnectAsync(CancellationToken cancel)
    {
        for (var attempt = 1; ; attempt++)
        {
            var socket = endPoint is UnixDomainSocketEndPoint
                ? new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified)
                : new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            try
            {
                await socket.ConnectAsync(endPoint, cancel).ConfigureAwait(false);
                return socket;
            }
            catch (SocketException e) when (IsQueueFull(e) && attempt < MaxAttempts)
            {
                socket.Dispose();
            }
            catch
            {
                socket.Dispose();
                throw;
            }

            await Task.Delay(AttemptDelay, clock, cancel).ConfigureAwait(false);
        }
    }

    // A Unix socket whose queue of waiting connections is full says so (EAGAIN) at once: others use the TPM, our turn comes.
    private static bool IsQueueFull(SocketException e) =>
        e.SocketErrorCode is SocketError.WouldBlock or SocketError.TryAgain or SocketError.NoBufferSpaceAvailable;

    private async Task ReceiveAsync(Socket socket, Memory<byte> buffer, CancellationToken cancel)
    {
        for (var rest = buffer; !rest.IsEmpty;)
        {
            var count = await socket.ReceiveAsync(rest, cancel).ConfigureAwait(false);
            if (count == 0)
                throw new TpmDeviceException($"The swtpm at {Describe()} closed the connection before its response ended.");
            rest = rest[count..];
        }
    }

    private string Describe() => endPoint is DnsEndPoint dns ? $"{dns.Host}:{dns.Port}" : endPoint.ToString() ?? "";
}
