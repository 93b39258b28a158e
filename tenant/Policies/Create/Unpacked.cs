using System.ComponentModel;
using System.Diagnostics;
using System.IO.Compression;

namespace Keylime.Tenant;

/// <summary>A compressed stream, unpacked: gzip here, other kinds by the system's own tools, which get no argument from the file.</summary>
internal sealed class Unpacked : IDisposable
{
    private readonly Process? _process;
    private readonly Task _feeding = Task.CompletedTask;

    private Unpacked(Stream stream) => Stream = stream;

    private Unpacked(Process process, Stream packed)
    {
        (_process, Stream) = (process, process.StandardOutput.BaseStream);
        _feeding = Task.Run(() => Feed(process, packed));
    }

    public Stream Stream { get; }

    /// <param name="start">The first bytes, which say the kind.</param>
    /// <exception cref="InvalidDataException">It is of no kind that is known, or its tool is not there.</exception>
    public static Unpacked Open(Stream packed, ReadOnlySpan<byte> start)
    {
        if (start is [0x1F, 0x8B, ..])
            return new Unpacked(new GZipStream(packed, CompressionMode.Decompress, leaveOpen: true));
        var (program, arguments) = start switch
        {
            [0xFD, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0, ..] => ("xz", (string[])["-dc"]),
            [0x28, 0xB5, 0x2F, 0xFD, ..] => ("zstd", ["-dcq"]),
            [0x02, 0x21, 0x4C, 0x18, ..] or [0x04, 0x22, 0x4D, 0x18, ..] => ("lz4", ["-dcq"]),
            [(byte)'B', (byte)'Z', (byte)'h', ..] => ("bzip2", ["-dc"]),
            [0x5D, 0, 0, ..] => ("xz", ["-dc", "--format=lzma"]),
            _ => throw new InvalidDataException($"a segment starts with {Convert.ToHexStringLower(start)}, which is neither a cpio archive nor gzip, xz, lzma, zstd, lz4 or bzip2"),
        };
        var run = new ProcessStartInfo(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        try
        {
            var process = Process.Start(run)!;
            process.ErrorDataReceived += static (_, _) => { }; // so that it never waits for a reader; its exit code tells
            process.BeginErrorReadLine();
            return new Unpacked(process, packed);
        }
        catch (Win32Exception e)
        {
            throw new InvalidDataException($"it takes the program {program}, which cannot be started ({e.Message})");
        }
    }

    /// <summary>Call behind the last byte.</summary>
    /// <exception cref="InvalidDataException">The tool found something wrong.</exception>
    public void Complete()
    {
        if (_process is null)
            return;
        _process.WaitForExit();
        if (_process.ExitCode != 0)
            throw new InvalidDataException($"{_process.StartInfo.FileName} ended with {_process.ExitCode}: the compressed data are damaged");
    }

    public void Dispose()
    {
        if (_process is null)
        {
            Stream.Dispose();
            return;
        }

        if (!_process.HasExited)
            _process.Kill();
        _feeding.Wait();
        _process.Dispose();
    }

    private static void Feed(Process process, Stream packed)
    {
        try
        {
            using var input = process.StandardInput.BaseStream;
            packed.CopyTo(input);
        }
        catch (IOException)
        {
            // it ended before it had read all; its exit code tells
        }
    }
}
