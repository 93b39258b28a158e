using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace Keylime.Attestation;

/// <summary>Reads what this system stored of a node's measurement list, front to back. A read returns what it consumed or throws <see cref="FormatException"/>.</summary>
internal ref struct StateReader(ReadOnlySpan<byte> source)
{
    private static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);

    private readonly int _end = source.Length;
    private ReadOnlySpan<byte> _rest = source;

    public byte ReadUInt8() => Take(1)[0];

    public uint ReadUInt32() => BinaryPrimitives.ReadUInt32BigEndian(Take(sizeof(uint)));

    /// <summary>16 bits, of at most <paramref name="limit"/>.</summary>
    public int ReadCount(int limit, string what)
    {
        var count = BinaryPrimitives.ReadUInt16BigEndian(Take(sizeof(ushort)));
        if (count > limit)
            Throw($"{count} {what}, {limit} at most,");
        return count;
    }

    /// <summary>16 bits of length, and that many bytes.</summary>
    public ReadOnlySpan<byte> ReadBytes(int limit, string what)
    {
        var count = ReadCount(limit, $"bytes of {what}");
        return Take(count);
    }

    /// <summary>8 bits of length, and that many bytes of UTF-8.</summary>
    public string ReadText(int limit, string what)
    {
        var length = ReadUInt8();
        if (length > limit)
            Throw($"{length} bytes of {what}, {limit} at most,");
        try
        {
            return Strict.GetString(Take(length));
        }
        catch (DecoderFallbackException)
        {
            Throw($"{what} that is no UTF-8");
            throw;
        }
    }

    public void Expect(byte expected, string what)
    {
        if (ReadUInt8() is var actual && actual != expected)
            Throw($"{what} is {actual}, not {expected},");
    }

    /// <summary>What is behind the end nobody has read.</summary>
    public readonly void ExpectEnd()
    {
        if (!_rest.IsEmpty)
            Throw($"{_rest.Length} bytes left over");
    }

    private ReadOnlySpan<byte> Take(int count)
    {
        if (count > _rest.Length)
            Throw($"{count} bytes wanted, {_rest.Length} left,");
        var taken = _rest[..count];
        _rest = _rest[count..];
        return taken;
    }

    [DoesNotReturn]
    private readonly void Throw(string what) => throw new FormatException($"{what} at byte {_end - _rest.Length}.");
}
