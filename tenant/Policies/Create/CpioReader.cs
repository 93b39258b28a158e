using System.Globalization;
using System.Text;

namespace Keylime.Tenant;

/// <summary>Reads cpio archives of the form "newc" (kernel: Documentation/driver-api/early-userspace/buffer-format.rst).</summary>
/// <remarks>A header is 6 digits of magic and 13 fields of 8 hex digits; name and data are padded to four bytes.</remarks>
internal sealed class CpioReader(Stream stream)
{
    public const int MagicLength = 6;

    private const int HeaderLength = 110;
    private const int MaxName = 4096; // PATH_MAX

    private long _at;

    public static bool IsMagic(ReadOnlySpan<byte> bytes) => bytes.StartsWith("070701"u8) || bytes.StartsWith("070702"u8);

    /// <summary>The next entry's header; its data must be read before the next call.</summary>
    /// <returns><see langword="null"/> at the archive's trailer.</returns>
    /// <exception cref="InvalidDataException">It is no such archive, or ends early, or names what is outside of it.</exception>
    public CpioEntry? Next()
    {
        Span<byte> header = stackalloc byte[HeaderLength];
        var start = _at;
        Fill(header);
        if (!IsMagic(header))
            throw new InvalidDataException($"byte {start}: the magic number of a newc entry is expected");
        var nameLength = Field(header, 11, start);
        if (nameLength is 0 or > MaxName)
            throw new InvalidDataException($"byte {start}: a name of {nameLength} bytes; 1 to {MaxName} are expected");
        Span<byte> name = stackalloc byte[MaxName];
        name = name[..(int)nameLength];
        Fill(name);
        if (name[^1] != 0 || name[..^1].Contains((byte)0))
            throw new InvalidDataException($"byte {start}: a name that ends with its only zero is expected");
        Pad();
        if (name[..^1].SequenceEqual("TRAILER!!!"u8))
            return null;
        return new CpioEntry(PathOf(name[..^1], start), Field(header, 1, start), Field(header, 6, start), (Field(header, 0, start), Field(header, 7, start), Field(header, 8, start)));
    }

    /// <summary>The data of the entry that was read last.</summary>
    public Stream Data(CpioEntry entry) => new BoundedStream(this, entry.Size);

    /// <summary>Behind the data.</summary>
    public void EndData() => Pad();

    private int Read(Span<byte> into)
    {
        var read = stream.Read(into);
        if (read == 0 && into.Length > 0)
            throw new InvalidDataException($"byte {_at}: the archive ends early");
        _at += read;
        return read;
    }

    private void Fill(Span<byte> into)
    {
        while (!into.IsEmpty)
            into = into[Read(into)..];
    }

    private void Pad()
    {
        Span<byte> padding = stackalloc byte[3];
        Fill(padding[..(int)((4 - _at % 4) % 4)]);
    }

    private static uint Field(ReadOnlySpan<byte> header, int index, long at) =>
        uint.TryParse(header.Slice(MagicLength + 8 * index, 8), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value)
            ? value : throw new InvalidDataException($"byte {at}: eight hex digits are expected in field {index}");

    // Null for a name that no policy can have.
    private static string? PathOf(ReadOnlySpan<byte> name, long at)
    {
        string text;
        try
        {
            text = new UTF8Encoding(false, true).GetString(name);
        }
        catch (DecoderFallbackException)
        {
            return null;
        }

        var parts = text.Split('/', StringSplitOptions.RemoveEmptyEntries).Where(static p => p != ".").ToArray();
        return parts.Contains("..") ? throw new InvalidDataException($"byte {at}: the name '{text}' leads out of the archive") : "/" + string.Join('/', parts);
    }

    private sealed class BoundedStream(CpioReader reader, uint length) : Stream
    {
        private uint _left = length;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override int Read(Span<byte> buffer)
        {
            if (_left == 0 || buffer.IsEmpty)
                return 0;
            var read = reader.Read(buffer[..(int)Math.Min(_left, (uint)buffer.Length)]);
            _left -= (uint)read;
            return read;
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
