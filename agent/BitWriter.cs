using System.Buffers;
using System.Buffers.Binary;

namespace Keylime.Agent;

/// <summary>Bits into bytes, the first one lowest (RFC 1951, 3.1.1).</summary>
/// <param name="capacity">Bytes that there is room for without more memory.</param>
internal sealed class BitWriter(int capacity)
{
    private readonly ArrayBufferWriter<byte> _bytes = new(capacity);
    private ulong _bits; // not written yet
    private int _bitCount;

    /// <summary>Whole bytes; the last bits may be missing until <see cref="Align"/>.</summary>
    public ReadOnlySpan<byte> Written => _bytes.WrittenSpan;

    public void Clear() => _bytes.ResetWrittenCount();

    /// <summary>Bytes, where all bits before are <see cref="Align">written</see>.</summary>
    public void Write(ReadOnlySpan<byte> bytes) => _bytes.Write(bytes);

    public void Put(HuffmanCode code, int symbol) => Put(code.Codes[symbol], code.Lengths[symbol]);

    public void Put(uint bits, int count)
    {
        _bits |= (ulong)bits << _bitCount;
        _bitCount += count;
        if (_bitCount < 32)
            return;
        BinaryPrimitives.WriteUInt32LittleEndian(_bytes.GetSpan(4), unchecked((uint)_bits));
        _bytes.Advance(4);
        _bits >>= 32;
        _bitCount -= 32;
    }

    public void Align()
    {
        for (; _bitCount > 0; _bitCount -= 8, _bits >>= 8)
        {
            _bytes.GetSpan(1)[0] = unchecked((byte)_bits);
            _bytes.Advance(1);
        }

        _bitCount = 0;
    }
}
