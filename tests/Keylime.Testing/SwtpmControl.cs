using System.Buffers.Binary;
using System.Net.Sockets;

namespace Keylime.Testing;

/// <summary>The control channel of swtpm: what on a machine the power supply does.</summary>
internal static class SwtpmControl
{
    private const uint Initialize = 2; // CMD_INIT: a power cycle

    public static async Task InitializeAsync(string controlPath, CancellationToken cancel)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(controlPath), cancel);
        var request = new byte[8]; // the command, and no flags
        BinaryPrimitives.WriteUInt32BigEndian(request, Initialize);
        await socket.SendAsync(request, cancel);

        var response = new byte[4];
        await using var stream = new NetworkStream(socket);
        await stream.ReadExactlyAsync(response, cancel);
        if (BinaryPrimitives.ReadUInt32BigEndian(response) is var result and not 0)
            throw new InvalidOperationException($"swtpm refused to initialize: 0x{result:x}.");
    }
}
