using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Keylime.Tpm.Tests;

/// <summary>
/// A character device that is a TPM: a pseudo-terminal in raw mode, with a software TPM behind it. It stands for <c>/dev/tpmrm0</c>, which a machine
/// without a TPM does not have: a command is written, and its response read, of an open file that knows no offsets.
/// </summary>
internal sealed partial class PtyTpm : IDisposable
{
    private const int ReadWriteNoControl = 0x102; // O_RDWR | O_NOCTTY
    private const int TermiosSize = 256;          // more than struct termios has
    private const int HeaderSize = 10;

    private readonly FileStream _master;
    private readonly SafeFileHandle _held; // a pseudo-terminal that nobody has open ends its master's reads
    private readonly ITpmDevice _tpm;

    private PtyTpm(FileStream master, string path, ITpmDevice tpm)
    {
        (_master, Path, _tpm) = (master, path, tpm);
        _held = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
    }

    public string Path { get; }

    public static PtyTpm Start(string spec)
    {
        var master = new SafeFileHandle(Check(OpenPt(ReadWriteNoControl)), ownsHandle: true);
        var fd = (int)master.DangerousGetHandle();
        Check(GrantPt(fd));
        Check(UnlockPt(fd));
        var name = new byte[128];
        Check(PtsName(fd, name, (nuint)name.Length));
        var termios = new byte[TermiosSize];
        Check(TcGetAttr(fd, termios));
        CfMakeRaw(termios);
        Check(TcSetAttr(fd, 0, termios));

        var pty = new PtyTpm(new FileStream(master, FileAccess.ReadWrite, bufferSize: 0), System.Text.Encoding.ASCII.GetString(name.AsSpan(0, name.AsSpan().IndexOf((byte)0))), TpmDevices.Open(spec));
        new Thread(pty.Serve) { IsBackground = true }.Start();
        return pty;
    }

    public void Dispose()
    {
        _held.Dispose();
        _master.Dispose();
    }

    private void Serve()
    {
        try
        {
            while (true)
            {
                var command = new byte[4096];
                Fill(command.AsSpan(0, HeaderSize));
                var size = BinaryPrimitives.ReadInt32BigEndian(command.AsSpan(2));
                Fill(command.AsSpan(HeaderSize, size - HeaderSize));
                var response = _tpm.SendAsync(command.AsMemory(0, size), CancellationToken.None).AsTask().GetAwaiter().GetResult();
                _master.Write(response.Span);
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // closed
        }
    }

    private void Fill(Span<byte> into)
    {
        while (!into.IsEmpty)
        {
            var read = _master.Read(into);
            if (read == 0)
                throw new IOException("closed");
            into = into[read..];
        }
    }

    private static int Check(int result) => result >= 0 ? result : throw new IOException($"No pseudo-terminal: {Marshal.GetLastPInvokeErrorMessage()}");

    [LibraryImport("libc", EntryPoint = "posix_openpt", SetLastError = true)]
    private static partial int OpenPt(int flags);

    [LibraryImport("libc", EntryPoint = "grantpt", SetLastError = true)]
    private static partial int GrantPt(int fd);

    [LibraryImport("libc", EntryPoint = "unlockpt", SetLastError = true)]
    private static partial int UnlockPt(int fd);

    [LibraryImport("libc", EntryPoint = "ptsname_r", SetLastError = true)]
    private static partial int PtsName(int fd, byte[] name, nuint size);

    [LibraryImport("libc", EntryPoint = "tcgetattr", SetLastError = true)]
    private static partial int TcGetAttr(int fd, byte[] termios);

    [LibraryImport("libc", EntryPoint = "cfmakeraw")]
    private static partial void CfMakeRaw(byte[] termios);

    [LibraryImport("libc", EntryPoint = "tcsetattr", SetLastError = true)]
    private static partial int TcSetAttr(int fd, int when, byte[] termios);
}
