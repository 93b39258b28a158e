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
    private const int EndOfBlock = DeflateSymbols.EndOfBlock;
    private const int Literals = DeflateSymbols.Literals, Distances = DeflateSymbols.Distances, LengthCodes = DeflateSymbols.LengthCodes;
    private const int MaxBits = 15, MaxLengthBits = 7;
    private const int StoredHead = 5;

    private readonly byte[] _window = new byte[2 * BlockSize]; // what went before, and the block that is filled
    private readonly ushort[] _last = new ushort[1 << HashBits]; // where six bytes of that hash were last seen, and 1; 0 for nowhere
    private readonly uint[] _tokens = new uint[BlockSize]; // a byte; or a copy: its length in the upper half, how far back in the lower one
    private readonly int[] _literalUses = new int[Literals];
    private readonly int[] _distanceUses = new int[Distances];
    private readonly BitWriter _output = new(2 * BlockSize);
    private int _start; // of the block
    private int _end;
    private int _tokenCount;
    private uint _crc;
    private long _read;
    private long _written; // and taken

    public GzipWriter() => _output.Write(CompressedLog.Header);

    /// <summary>Bytes that were written.</summary>
    public long Length => _read;

    /// <summary>What is ready of the member; until <see cref="Take"/>.</summary>
    public ReadOnlySpan<byte> Ready => _output.Written;

    /// <summary>What was ready is used.</summary>
    public void Take()
    {
        _written += _output.Written.Length;
        _output.Clear();
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
        _output.Put(0b011, 3); // the last block, with the fixed code, and nothing in it
        _output.Put(DeflateSymbols.FixedLiterals, EndOfBlock);
        _output.Align();
        Span<byte> trailer = stackalloc byte[CompressedLog.TrailerSize];
        BinaryPrimitives.WriteUInt32LittleEndian(trailer, _crc);
        BinaryPrimitives.WriteUInt32LittleEndian(trailer[4..], unchecked((uint)_read));
        _output.Write(trailer);
    }

    private void FinishBlock()
    {
        FindCopies();
        WriteBlock();

        // Lines that repeat themselves would be smaller than the service believes: empty blocks fill them up.
        while ((_written + _output.Written.Length) * CompressedLog.MaxRatio < _read)
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
                    length = window[at..Math.Min(window.Length, at + DeflateSymbols.MaxMatch)].CommonPrefixLength(window[from..]);
                if (length >= MinMatch)
                {
                    var distance = at - from;
                    _tokens[_tokenCount++] = (uint)(length << 16 | distance);
                    _literalUses[DeflateSymbols.OfLength(length).Symbol]++;
                    _distanceUses[DeflateSymbols.OfDistance(distance).Symbol]++;
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
        var (literalCount, distanceCount) = (Used(literals, DeflateSymbols.FirstLength), Used(distances, 1));
        Span<byte> lengths = stackalloc byte[Literals + Distances];
        literals.Lengths[..literalCount].CopyTo(lengths);
        distances.Lengths[..distanceCount].CopyTo(lengths[literalCount..]);
        Span<ushort> runs = stackalloc ushort[Literals + Distances];
        runs = runs[..RunsOf(lengths[..(literalCount + distanceCount)], runs)];
        var uses = new int[LengthCodes];
        foreach (var run in runs)
            uses[run & 0xFF]++;
        var codes = HuffmanCode.For(uses, MaxLengthBits);
        var codeCount = LengthCodes;
        while (codeCount > 4 && codes.Lengths[DeflateSymbols.Order[codeCount - 1]] == 0)
            codeCount--;

        var head = 5 + 5 + 4 + 3 * codeCount + codes.Cost(uses) + 2 * uses[16] + 3 * uses[17] + 7 * uses[18];
        var dynamicCost = head + literals.Cost(_literalUses) + distances.Cost(_distanceUses);
        var fixedCost = DeflateSymbols.FixedLiterals.Cost(_literalUses) + DeflateSymbols.FixedDistances.Cost(_distanceUses);
        var storedCost = 8 * (StoredHead + _end - _start) - ExtraBits(); // which the others have besides
        if (storedCost <= Math.Min(dynamicCost, fixedCost))
        {
            WriteStored(_window.AsSpan(_start, _end - _start));
            return;
        }

        if (fixedCost <= dynamicCost)
        {
            _output.Put(0b010, 3);
            WriteTokens(DeflateSymbols.FixedLiterals, DeflateSymbols.FixedDistances);
            return;
        }

        _output.Put(0b100, 3);
        _output.Put((uint)(literalCount - DeflateSymbols.FirstLength), 5);
        _output.Put((uint)(distanceCount - 1), 5);
        _output.Put((uint)(codeCount - 4), 4);
        foreach (var symbol in DeflateSymbols.Order[..codeCount])
            _output.Put(codes.Lengths[symbol], 3);
        foreach (var run in runs)
        {
            _output.Put(codes, run & 0xFF);
            _output.Put((uint)run >> 8, (run & 0xFF) switch { 16 => 2, 17 => 3, 18 => 7, _ => 0 });
        }

        WriteTokens(literals, distances);
    }

    private void WriteStored(ReadOnlySpan<byte> bytes)
    {
        _output.Put(0b000, 3);
        _output.Align();
        Span<byte> head = stackalloc byte[4];
        BinaryPrimitives.WriteUInt16LittleEndian(head, (ushort)bytes.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(head[2..], unchecked((ushort)~bytes.Length));
        _output.Write(head);
        _output.Write(bytes);
    }

    private void WriteTokens(HuffmanCode literals, HuffmanCode distances)
    {
        foreach (var token in _tokens.AsSpan(0, _tokenCount))
        {
            if (token < EndOfBlock)
            {
                _output.Put(literals, (int)token);
                continue;
            }

            var length = DeflateSymbols.OfLength((int)(token >> 16));
            _output.Put(literals, length.Symbol);
            _output.Put((uint)length.Extra, length.ExtraBits);
            var distance = DeflateSymbols.OfDistance((int)(token & 0xFFFF));
            _output.Put(distances, distance.Symbol);
            _output.Put((uint)distance.Extra, distance.ExtraBits);
        }

        _output.Put(literals, EndOfBlock);
    }

    private int ExtraBits()
    {
        var bits = 0;
        for (var symbol = 265; symbol < Literals - 1; symbol++)
            bits += _literalUses[symbol] * ((symbol - 261) / 4);
        for (var symbol = 4; symbol < Distances; symbol++)
            bits += _distanceUses[symbol] * (symbol / 2 - 1);
        return bits;
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
}
