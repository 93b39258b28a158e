using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.IO.Compression;

namespace Keylime.Protocol.Upstream;

/// <summary>
/// A log as <see cref="ChosenParameters.Gzip"/>: one member of gzip (RFC 1952) without optional fields, and nothing behind it. Both ends hold to the bounds: what inflates to more is no log of anybody.
/// </summary>
public static class CompressedLog
{
    /// <summary>The header with the log's bytes before they were compressed, in decimal digits. The service has room for that much, or says when to come again, before it reads the body.</summary>
    public const string LengthHeader = "Keylime-Log-Length";

    /// <summary>
    /// How many times the member's length a log may have. Recorded measurement lists have twice (three quarters of a line are hashes in hex, of which half is left), and 16 times as
    /// much is for lines of one file that was measured over and over. A list that would be smaller still is padded by who compresses it.
    /// </summary>
    public const int MaxRatio = 32;

    /// <summary>Header and trailer, in bytes.</summary>
    public const int HeaderSize = 10, TrailerSize = 8;

    private const int UsualRatio = 4; // so much is made room for at once

    /// <summary>How a member begins: deflate, no flags, no time; 255 for a system that nobody knows.</summary>
    public static ReadOnlySpan<byte> Header => [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255];

    /// <summary>The member of an empty log, of which the runtime's writer makes no byte.</summary>
    public static ReadOnlySpan<byte> Empty => [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    /// <param name="declared">The bytes of the log, where the sender said so.</param>
    /// <param name="most">The most bytes that a log may have.</param>
    /// <param name="error">What it must be and is not, to go behind its place.</param>
    public static bool TryInflate(ReadOnlyMemory<byte> member, long? declared, long most, out ReadOnlyMemory<byte> log, [NotNullWhen(false)] out string? error)
    {
        (log, error) = (default, null);
        if (member.Length < HeaderSize + TrailerSize || !member.Span[..4].SequenceEqual(Header[..4])) // time, level and system say nothing
        {
            error = "must be a gzip member of deflate without optional fields (RFC 1952, 2.3)";
            return false;
        }

        // The member's own word for its length, which is true or makes it none; so a bomb that says what it is costs nothing.
        var trailer = member.Span[^TrailerSize..];
        long length = BinaryPrimitives.ReadUInt32LittleEndian(trailer[4..]);
        most = Math.Min(most, (long)member.Length * MaxRatio);
        if (length > most)
            error = Text($"must inflate to {most} bytes at most, {MaxRatio} times its own length or the longest log: it says {length}");
        else if (declared is { } said && said != length)
            error = Text($"must inflate to the {said} bytes that {LengthHeader} declares: it says {length}");
        else if (!TryInflate(member[HeaderSize..^TrailerSize], (int)length, out var bytes, out error))
            return false;
        else if (Crc32.Append(0, bytes) != BinaryPrimitives.ReadUInt32LittleEndian(trailer))
            error = "must inflate to bytes of the CRC in its trailer";
        else
            log = bytes;
        return error is null;
    }

    // Nothing is made room for before bytes are there: four times those of the member, then twice what has come out.
    private static bool TryInflate(ReadOnlyMemory<byte> data, int length, [NotNullWhen(true)] out byte[]? bytes, [NotNullWhen(false)] out string? error)
    {
        (bytes, error) = (null, null);
        var source = new DeflateSource(data);
        try
        {
            using var inflater = new DeflateStream(source, CompressionMode.Decompress);
            var into = new byte[Math.Min(length, Math.Max(4096L, (long)data.Length * UsualRatio))];
            var filled = 0;
            Span<byte> more = stackalloc byte[1];
            while (true)
            {
                if (filled == into.Length && filled < length)
                    Array.Resize(ref into, (int)Math.Min(length, 2L * filled));
                var read = inflater.Read(filled < length ? into.AsSpan(filled) : more);
                if (read == 0)
                    break;
                if (filled == length)
                {
                    error = Text($"must inflate to the {length} bytes that its trailer says, and has more");
                    return false;
                }

                filled += read;
            }

            // The runtime's reader takes a stream that breaks off, and passes over what is behind one.
            if (source.IsCutOff)
                error = "must be whole: its deflate data break off";
            else if (!source.IsUsedUp)
                error = "must be one gzip member: its deflate data end before its trailer";
            else if (filled < length)
                error = Text($"must inflate to the {length} bytes that its trailer says, and has {filled}");
            else
                bytes = into;
        }
        catch (InvalidDataException)
        {
            error = "must be a gzip member: its deflate data are broken (RFC 1951)";
        }

        return bytes is not null;
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    /// <summary>Deflate data whose last byte comes alone: who asks for it has not met the end before it, and who asks for more has not met it at all.</summary>
    private sealed class DeflateSource(ReadOnlyMemory<byte> data) : Stream
    {
        private int _at;

        public bool IsUsedUp => _at == data.Length;

        public bool IsCutOff { get; private set; }

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override int Read(Span<byte> buffer)
        {
            IsCutOff |= IsUsedUp;
            var left = data.Length - _at;
            var count = Math.Min(buffer.Length, left > 1 ? left - 1 : left);
            data.Span.Slice(_at, count).CopyTo(buffer);
            _at += count;
            return count;
        }

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
