using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;

namespace Keylime.Attestation;

/// <summary>
/// Reads the little-endian structures of the PC Client Platform Firmware Profile and of UEFI, front to back.
/// A read returns what it consumed, or throws <see cref="BootFormatException"/> and consumes nothing.
/// </summary>
internal ref struct BootReader
{
    private readonly int _end;
    private ReadOnlyMemory<byte> _rest;

    public BootReader(ReadOnlyMemory<byte> source) : this(source, end: source.Length)
    {
    }

    private BootReader(ReadOnlyMemory<byte> source, int end)
    {
        _rest = source;
        _end = end;
    }

    /// <summary>Where the next read starts, counted from the outermost structure's first byte.</summary>
    public readonly int Position => _end - _rest.Length;

    public readonly int Left => _rest.Length;

    public readonly bool AtEnd => _rest.IsEmpty;

    public byte ReadUInt8() => Take(sizeof(byte)).Span[0];

    public ushort ReadUInt16() => BinaryPrimitives.ReadUInt16LittleEndian(Take(sizeof(ushort)).Span);

    public uint ReadUInt32() => BinaryPrimitives.ReadUInt32LittleEndian(Take(sizeof(uint)).Span);

    public ulong ReadUInt64() => BinaryPrimitives.ReadUInt64LittleEndian(Take(sizeof(ulong)).Span);

    /// <summary>EFI_GUID: the first three fields little-endian, as <see cref="Guid"/> has them in memory.</summary>
    public Guid ReadGuid() => new(Take(16).Span);

    public ReadOnlyMemory<byte> ReadBytes(ulong count) => Take(count);

    public ReadOnlyMemory<byte> ReadRest() => Take((ulong)_rest.Length);

    /// <summary>A size in one byte, and that many bytes.</summary>
    public ReadOnlyMemory<byte> ReadShort()
    {
        var ahead = this; // a copy is the checkpoint: nothing is consumed unless both reads succeed
        var bytes = ahead.Take(ahead.ReadUInt8());
        this = ahead;
        return bytes;
    }

    /// <summary>The next bytes, through a reader that cannot leave them.</summary>
    public BootReader ReadPart(ulong count)
    {
        var bytes = Take(count);
        return new BootReader(bytes, end: Position);
    }

    /// <summary>A 64-bit count of things, bounded before anything is allocated for them.</summary>
    /// <param name="each">The least that one of them takes, in bytes.</param>
    public int ReadCount(int limit, int each, string what)
    {
        var ahead = this;
        var count = ahead.ReadUInt64();
        if (count > (ulong)limit)
            Throw($"{count} {what}, {limit} at most,", Position);
        if ((int)count * (long)each > ahead.Left)
            Throw($"{count} {what} of {each} bytes and {ahead.Left} bytes left", Position);
        this = ahead;
        return (int)count;
    }

    /// <summary>Every structure ends with this: bytes nobody read are bytes nobody checked.</summary>
    public readonly void ExpectEnd()
    {
        if (!_rest.IsEmpty)
            Throw($"{_rest.Length} bytes left over", Position);
    }

    /// <summary>For what is wrong with a value that was read, or is about to be.</summary>
    [DoesNotReturn]
    public static void Throw(string what, int position) => throw new BootFormatException(what, position);

    // Lengths are unsigned on the wire and stay so here: a huge one is too long, never negative.
    private ReadOnlyMemory<byte> Take(ulong count)
    {
        if (count > (ulong)_rest.Length)
            Throw($"{count} bytes wanted, {_rest.Length} left,", Position);

        var taken = _rest[..(int)count];
        _rest = _rest[(int)count..];
        return taken;
    }
}
