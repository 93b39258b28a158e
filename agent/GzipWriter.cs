using System.Buffers;
using System.Buffers.Binary;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;

namespace Keylime.Agent;

/// <summary>
/// One member of gzip (RFC 1952), made in blocks of 16 KiB (RFC 1951) of what was written so far. Our own, for measurement lists and a small program: the runtime's is ten times the code, and its empty
/// member is no byte. A list is hashes in hex with a few words and paths between them, so one look for an earlier copy of six bytes is enough; shorter copies, which hashes have by chance, cost more than they save.
/// </summary>
internal sealed class GzipWriter
{
    private const int BlockSize = 16 * 1024;
    private const int HashBits = 13;
    private const int MinMatch = 6;
    private const int MaxMatch = 258;
    private const int EndOfBlock = 256;
    private const int FirstLength = 257;
    private const int Lengths = 286, Distances = 30, LengthCodes = 19;
    private const int FixedLengths = 288;
    private const int MaxBits = 15, MaxLengthBits = 7;
    private const int StoredHead = 5;

    private static readonly HuffmanCode FixedLiterals = new(FixedLengthsOf());
    private static readonly HuffmanCode FixedDistances = new(Enumerable.Repeat((byte)5, Distances).ToArray());

    private readonly byte[] _window = new byte[2 * BlockSize]; // what went before, and the block that is filled
    private readonly ushort[] _last = new ushort[1 << HashBits]; // where six bytes of that hash were last seen, and 1; 0 for nowhere
    private readonly uint[] _tokens = new uint[BlockSize]; // a byte; or a copy: its length in the upper half, how far back in the lower one
    private readonly int[] _literalUses = new int[Lengths];
    private readonly int[] _distanceUses = new int[Distances];
    private readonly ArrayBufferWriter<byte> _output = new(2 * BlockSize);
    private int _start; // of the block
    private int _end;
    private int _tokenCount;
    private ulong _bits; // not written yet, the first one lowest
    private int _bitCount;
    private uint _crc;
    private long _read;
    private long _written; // and taken

    public GzipWriter() => _output.Write(CompressedLog.Header);

    /// <summary>Bytes that were written.</summary>
    public long Length => _read;

    /// <summary>What is ready of the member; until <see cref="Take"/>.</summary>
    public ReadOnlySpan<byte> Ready => _output.WrittenSpan;

    /// <summary>What was ready is used.</summary>
    public void Take()
    {
        _written += _output.WrittenCount;
        _output.ResetWrittenCount();
    }

    public void Write(ReadOnlySpan<byte> bytes)
    {
        _crc = Crc32.Append(_crc, bytes);
        while (!bytes.IsEmpty)
        {
            var count = Math.Min(bytes.Length, _start + BlockSize - _end);
            bytes[..count].CopyTo(_window.AsSpan(_end));
            bytes = bytes[count..];
            _end += count;
            _read += count;
            if (_end - _start == BlockSize)
                FinishBlock();
        }
    }

    /// <summary>Ends the member; nothing is written behind it.</summary>
    public void Finish()
    {
        if (_end > _start)
            FinishBlock();
        Put(0b011, 3); // the last block, with the fixed code, and nothing in it
        Put(FixedLiterals, EndOfBlock);
        Align();
        var trailer = _output.GetSpan(CompressedLog.TrailerSize);
        BinaryPrimitives.WriteUInt32LittleEndian(trailer, _crc);
        BinaryPrimitives.WriteUInt32LittleEndian(trailer[4..], unchecked((uint)_read));
        _output.Advance(CompressedLog.TrailerSize);
    }

    private void FinishBlock()
    {
        FindCopies();
        WriteBlock();

        // Lines that repeat themselves would be smaller than the service believes: empty blocks fill them up.
        while ((_written + _output.WrittenCount) * CompressedLog.MaxRatio < _read)
            WriteStored([]);

        // The last 16 KiB stay to be copied from.
        var shift = _end - Math.Min(_end, BlockSize);
        if (shift > 0)
        {
            _window.AsSpan(shift, _end - shift).CopyTo(_window);
            foreach (ref var at in _last.AsSpan())
                at = (ushort)Math.Max(0, at - shift);
        }

        _start = _end -= shift;
    }

    private void FindCopies()
    {
        _tokenCount = 0;
        Array.Clear(_literalUses);
        Array.Clear(_distanceUses);
        ReadOnlySpan<byte> window = _window.AsSpan(0, _end);
        for (var at = _start; at < window.Length;)
        {
            var length = 0;
            if (window.Length - at >= sizeof(ulong))
            {
                ref var last = ref _last[Hash(window[at..])];
                var from = last - 1;
                last = (ushort)(at + 1);
                if (from >= 0)
                    length = window[at..Math.Min(window.Length, at + MaxMatch)].CommonPrefixLength(window[from..]);
                if (length >= MinMatch)
                {
                    var distance = at - from;
                    _tokens[_tokenCount++] = (uint)(length << 16 | distance);
                    _literalUses[LengthCode(length).Symbol]++;
                    _distanceUses[DistanceCode(distance).Symbol]++;
                    at += length;
                    continue;
                }
            }

            _tokens[_tokenCount++] = window[at];
            _literalUses[window[at++]]++;
        }

        _literalUses[EndOfBlock] = 1;
    }

    private static int Hash(ReadOnlySpan<byte> bytes) => unchecked((int)((BinaryPrimitives.ReadUInt64LittleEndian(bytes) << 16) * 0x9E3779B97F4A7C15 >> (64 - HashBits)));

    // The smallest of the three kinds of blocks (RFC 1951, 3.2.3).
    private void WriteBlock()
    {
        var (literals, distances) = (HuffmanCode.For(_literalUses, MaxBits), HuffmanCode.For(_distanceUses, MaxBits));
        var (literalCount, distanceCount) = (Used(literals, FirstLength), Used(distances, 1));
        Span<byte> lengths = stackalloc byte[Lengths + Distances];
        literals.Lengths[..literalCount].CopyTo(lengths);
        distances.Lengths[..distanceCount].CopyTo(lengths[literalCount..]);
        Span<ushort> runs = stackalloc ushort[Lengths + Distances];
        runs = runs[..RunsOf(lengths[..(literalCount + distanceCount)], runs)];
        var uses = new int[LengthCodes];
        foreach (var run in runs)
            uses[run & 0xFF]++;
        var codes = HuffmanCode.For(uses, MaxLengthBits);
        var codeCount = LengthCodes;
        while (codeCount > 4 && codes.Lengths[Order[codeCount - 1]] == 0)
            codeCount--;

        var head = 5 + 5 + 4 + 3 * codeCount + codes.Cost(uses) + 2 * uses[16] + 3 * uses[17] + 7 * uses[18];
        var dynamicCost = head + literals.Cost(_literalUses) + distances.Cost(_distanceUses);
        var fixedCost = FixedLiterals.Cost(_literalUses) + FixedDistances.Cost(_distanceUses);
        var storedCost = 8 * (StoredHead + _end - _start) - ExtraBits(); // which the others have besides
        if (storedCost <= Math.Min(dynamicCost, fixedCost))
        {
            WriteStored(_window.AsSpan(_start, _end - _start));
            return;
        }

        if (fixedCost <= dynamicCost)
        {
            Put(0b010, 3);
            WriteTokens(FixedLiterals, FixedDistances);
            return;
        }

        Put(0b100, 3);
        Put((uint)(literalCount - FirstLength), 5);
        Put((uint)(distanceCount - 1), 5);
        Put((uint)(codeCount - 4), 4);
        foreach (var symbol in Order[..codeCount])
            Put(codes.Lengths[symbol], 3);
        foreach (var run in runs)
        {
            Put(codes, run & 0xFF);
            Put((uint)run >> 8, (run & 0xFF) switch { 16 => 2, 17 => 3, 18 => 7, _ => 0 });
        }

        WriteTokens(literals, distances);
    }

    private void WriteStored(ReadOnlySpan<byte> bytes)
    {
        Put(0b000, 3);
        Align();
        var head = _output.GetSpan(4);
        BinaryPrimitives.WriteUInt16LittleEndian(head, (ushort)bytes.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(head[2..], unchecked((ushort)~bytes.Length));
        _output.Advance(4);
        _output.Write(bytes);
    }

    private void WriteTokens(HuffmanCode literals, HuffmanCode distances)
    {
        foreach (var token in _tokens.AsSpan(0, _tokenCount))
        {
            if (token < EndOfBlock)
            {
                Put(literals, (int)token);
                continue;
            }

            var length = LengthCode((int)(token >> 16));
            Put(literals, length.Symbol);
            Put((uint)length.Extra, length.ExtraBits);
            var distance = DistanceCode((int)(token & 0xFFFF));
            Put(distances, distance.Symbol);
            Put((uint)distance.Extra, distance.ExtraBits);
        }

        Put(literals, EndOfBlock);
    }

    private int ExtraBits()
    {
        var bits = 0;
        for (var symbol = 265; symbol < Lengths - 1; symbol++)
            bits += _literalUses[symbol] * ((symbol - 261) / 4);
        for (var symbol = 4; symbol < Distances; symbol++)
            bits += _distanceUses[symbol] * (symbol / 2 - 1);
        return bits;
    }

    // RFC 1951, 3.2.5: four symbols, or two, for each power of two.
    private static (int Symbol, int Extra, int ExtraBits) LengthCode(int length)
    {
        if (length == MaxMatch)
            return (Lengths - 1, 0, 0);
        var value = length - 3;
        var bits = Math.Max(0, System.Numerics.BitOperations.Log2((uint)value | 1) - 2);
        return (FirstLength + 4 * bits + (value >> bits), value & (1 << bits) - 1, bits);
    }

    private static (int Symbol, int Extra, int ExtraBits) DistanceCode(int distance)
    {
        var value = distance - 1;
        var bits = Math.Max(0, System.Numerics.BitOperations.Log2((uint)value | 1) - 1);
        return (2 * bits + (value >> bits), value & (1 << bits) - 1, bits);
    }

    // RFC 1951, 3.2.7: code lengths, and runs of them: 16 for the last one 3 to 6 times more, 17 and 18 for zeros. The symbol is in the lower byte, the run's extra bits in the upper one.
    private static int RunsOf(ReadOnlySpan<byte> lengths, Span<ushort> runs)
    {
        var count = 0;
        for (var at = 0; at < lengths.Length;)
        {
            var length = lengths[at];
            var same = 1;
            while (at + same < lengths.Length && lengths[at + same] == length)
                same++;
            at += same;
            if (length > 0)
            {
                runs[count++] = length;
                same--;
            }

            while (same >= 3)
            {
                var run = Math.Min(same, length > 0 ? 6 : 138);
                runs[count++] = (ushort)(length > 0 ? 16 | run - 3 << 8 : run <= 10 ? 17 | run - 3 << 8 : 18 | run - 11 << 8);
                same -= run;
            }

            for (; same > 0; same--)
                runs[count++] = length;
        }

        return count;
    }

    private static int Used(HuffmanCode code, int least)
    {
        var count = code.Lengths.Length;
        while (count > least && code.Lengths[count - 1] == 0)
            count--;
        return count;
    }

    private static byte[] FixedLengthsOf()
    {
        var lengths = new byte[FixedLengths];
        for (var i = 0; i < lengths.Length; i++)
            lengths[i] = (byte)(i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8);
        return lengths;
    }

    // The order in which the lengths of the code for lengths come.
    private static ReadOnlySpan<byte> Order => [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

    private void Put(HuffmanCode code, int symbol) => Put(code.Codes[symbol], code.Lengths[symbol]);

    private void Put(uint bits, int count)
    {
        _bits |= (ulong)bits << _bitCount;
        _bitCount += count;
        if (_bitCount < 32)
            return;
        BinaryPrimitives.WriteUInt32LittleEndian(_output.GetSpan(4), unchecked((uint)_bits));
        _output.Advance(4);
        _bits >>= 32;
        _bitCount -= 32;
    }

    private void Align()
    {
        for (; _bitCount > 0; _bitCount -= 8, _bits >>= 8)
        {
            _output.GetSpan(1)[0] = unchecked((byte)_bits);
            _output.Advance(1);
        }

        _bitCount = 0;
    }
}
