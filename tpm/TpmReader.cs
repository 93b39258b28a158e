using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;

namespace Keylime.Tpm;

/// <summary>
/// Reads the big-endian structures of the TPM 2.0 Library, Part 2, front to back.
/// A read returns what it consumed, or throws <see cref="TpmFormatException"/> and consumes nothing.
/// </summary>
public ref struct TpmReader
{
    private readonly int _end;
    private ReadOnlySpan<byte> _rest;

    public TpmReader(ReadOnlySpan<byte> source) : this(source, end: source.Length)
    {
    }

    private TpmReader(ReadOnlySpan<byte> source, int end)
    {
        _rest = source;
        _end = end;
    }

    /// <summary>Where the next read starts, counted from the outermost structure's first byte.</summary>
    public readonly int Position => _end - _rest.Length;

    public byte ReadUInt8() => Take(sizeof(byte))[0];

    public ushort ReadUInt16() => BinaryPrimitives.ReadUInt16BigEndian(Take(sizeof(ushort)));

    public uint ReadUInt32() => BinaryPrimitives.ReadUInt32BigEndian(Take(sizeof(uint)));

    public ulong ReadUInt64() => BinaryPrimitives.ReadUInt64BigEndian(Take(sizeof(ulong)));

    public ReadOnlySpan<byte> ReadBytes(uint count) => Take(count);

    /// <summary>TPMI_YES_NO (Part 2, 9.2): a byte that is 0 or 1 and nothing else.</summary>
    public bool ReadYesNo(string field)
    {
        var ahead = this;
        var value = ahead.ReadUInt8();
        if (value > 1)
            Throw($"{field} is 0x{value:x2}, neither yes nor no,", Position);
        this = ahead;
        return value == 1;
    }

    /// <summary>A TPM2B of at most <paramref name="limit"/> bytes.</summary>
    public ReadOnlySpan<byte> ReadSized(int limit, string field)
    {
        var ahead = this;
        var bytes = ahead.ReadSized();
        if (bytes.Length > limit)
            Throw($"{field} has {bytes.Length} bytes, {limit} at most,", Position);
        this = ahead;
        return bytes;
    }

    /// <summary>A TPM2B: a 16-bit size, and that many bytes.</summary>
    public ReadOnlySpan<byte> ReadSized()
    {
        var ahead = this; // a copy is the checkpoint: nothing is consumed unless both reads succeed
        var bytes = ahead.Take(ahead.ReadUInt16());
        this = ahead;
        return bytes;
    }

    /// <summary>A TPM2B whose bytes are themselves a structure, read through a reader that cannot leave it.</summary>
    public TpmReader ReadSizedStructure()
    {
        var bytes = ReadSized();
        return new TpmReader(bytes, end: Position);
    }

    /// <summary>The next <paramref name="count"/> bytes, through a reader that cannot leave them.</summary>
    public TpmReader ReadPart(uint count)
    {
        var bytes = Take(count);
        return new TpmReader(bytes, end: Position);
    }

    /// <summary>Everything that is left.</summary>
    public ReadOnlySpan<byte> ReadRest() => Take((uint)_rest.Length);

    public void Expect(ushort expected, string field)
    {
        var ahead = this;
        if (ahead.ReadUInt16() is var actual && actual != expected)
            Throw($"{field} is 0x{actual:x4}, not 0x{expected:x4},", Position);
        this = ahead;
    }

    public void Expect(uint expected, string field)
    {
        var ahead = this;
        if (ahead.ReadUInt32() is var actual && actual != expected)
            Throw($"{field} is 0x{actual:x8}, not 0x{expected:x8},", Position);
        this = ahead;
    }

    /// <summary>True when nothing is left to read.</summary>
    public readonly bool AtEnd => _rest.IsEmpty;

    /// <summary>Every structure ends with this: bytes nobody read are bytes nobody checked.</summary>
    public readonly void ExpectEnd()
    {
        if (!_rest.IsEmpty)
            Throw($"{_rest.Length} bytes left over", Position);
    }

    // Lengths are unsigned on the wire and stay so here: a huge one is too long, never negative.
    private ReadOnlySpan<byte> Take(uint count)
    {
        if (count > _rest.Length)
            Throw($"{count} bytes wanted, {_rest.Length} left,", Position);

        var taken = _rest[..(int)count];
        _rest = _rest[(int)count..];
        return taken;
    }

    [DoesNotReturn]
    private static void Throw(string what, int position) => throw new TpmFormatException(what, position);
}
