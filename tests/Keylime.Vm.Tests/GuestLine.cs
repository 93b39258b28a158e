using System.Net.Sockets;
using System.Text;

namespace Keylime.Vm.Tests;

/// <summary>The serial line on which a virtual machine is told what to do: <c>tests/vm/root/sbin/control</c> is at its other end.</summary>
internal sealed class GuestLine : IAsyncDisposable
{
    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly byte[] _buffer = new byte[64 * 1024];
    private readonly StringBuilder _unread = new();
    private int _number;

    /// <param name="path">QEMU's socket.</param>
    /// <returns>False where QEMU does not listen yet.</returns>
    public async Task<bool> TryConnectAsync(string path, CancellationToken cancel)
    {
        try
        {
            await _socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancel);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    /// <summary>Waits until the machine has started so far that it listens.</summary>
    public Task WaitReadyAsync(CancellationToken cancel) => ReadUntilAsync("\n@@ ready\n", cancel);

    /// <summary>Runs a line of shell, and gives how it ended, and what it wrote.</summary>
    public async Task<(int Exit, string Output)> RunAsync(string command, CancellationToken cancel)
    {
        if (command.AsSpan().ContainsAny('\n', '\r'))
            throw new ArgumentException("A command is one line.", nameof(command));

        var number = ++_number;
        await SendAsync($"{number} {command}\n", cancel);
        var output = await ReadUntilAsync($"\n@@ {number} ", cancel);
        var exit = await ReadUntilAsync("\n", cancel);
        return (int.Parse(exit, System.Globalization.CultureInfo.InvariantCulture), output);
    }

    /// <summary>Sends a line that is not answered: the machine ends or begins anew.</summary>
    public Task TellAsync(string command, CancellationToken cancel) => SendAsync($"{++_number} {command}\n", cancel);

    public ValueTask DisposeAsync()
    {
        _socket.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task SendAsync(string line, CancellationToken cancel)
    {
        var left = Encoding.Latin1.GetBytes(line).AsMemory();
        while (!left.IsEmpty)
            left = left[await _socket.SendAsync(left, cancel)..];
    }

    private async Task<string> ReadUntilAsync(string marker, CancellationToken cancel)
    {
        while (true)
        {
            var text = _unread.ToString();
            if (text.IndexOf(marker, StringComparison.Ordinal) is >= 0 and var at)
            {
                _unread.Clear().Append(text, at + marker.Length, text.Length - at - marker.Length);
                return text[..at];
            }

            var read = await _socket.ReceiveAsync(_buffer, cancel);
            if (read == 0)
                throw new IOException("The serial line of the machine has ended.");
            _unread.Append(Encoding.Latin1.GetString(_buffer, 0, read));
        }
    }
}
