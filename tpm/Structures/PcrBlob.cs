using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Security.Cryptography;

namespace Keylime.Tpm;

/// <summary>
/// PCR values as tpm2-tools dumps them and as Keylime's <c>subject_data</c> carries them: a little-endian memory image of
/// TPML_PCR_SELECTION and TPML_DIGEST structures. Nobody signed it: the values are a machine's word until a quote's digest says so.
/// </summary>
public sealed class PcrBlob
{
    private const int Slots = 16;            // TPML_PCR_SELECTION has room for 16 banks, used or not
    private const int SlotSize = 8;          // u16 hash, u8 sizeofSelect, 3 or 4 select bytes, padding
    private const int DigestsPerList = 8;    // TPML_DIGEST has room for 8 digests, used or not
    private const int DigestSlotSize = 66;   // u16 size, 64 bytes
    private const int DigestListSize = sizeof(uint) + DigestsPerList * DigestSlotSize;
    private const int ListsOffset = sizeof(uint) + Slots * SlotSize + sizeof(uint);
    private const byte SelectSize = 3;

    private PcrBlob(PcrSelection selection, ImmutableArray<ReadOnlyMemory<byte>> values) => (Selection, Values) = (selection, values);

    /// <summary>The one bank that the blob speaks of.</summary>
    public PcrSelection Selection { get; }

    /// <summary>The values, in ascending order of the PCRs of <see cref="Selection"/>, each of the bank's digest size.</summary>
    public ImmutableArray<ReadOnlyMemory<byte>> Values { get; }

    /// <exception cref="ArgumentException">Not one value of the bank's size for each PCR.</exception>
    public static PcrBlob Create(PcrSelection selection, ImmutableArray<ReadOnlyMemory<byte>> values)
    {
        if (values.Length != selection.Pcrs.Count || values.Any(v => v.Length != selection.Bank.DigestSize()))
            throw new ArgumentException("One value of the bank's size for each PCR is wanted.", nameof(values));
        return new PcrBlob(selection with { BitmapSize = SelectSize }, values);
    }

    /// <exception cref="TpmFormatException">
    /// The bytes are no such image, speak of no bank or of more than one, or have not one value for each PCR.
    /// </exception>
    public static PcrBlob Parse(ReadOnlySpan<byte> encoded)
    {
        if (encoded.Length < ListsOffset)
            throw new TpmFormatException($"a PCR blob of {encoded.Length} bytes, {ListsOffset} at least,", 0);

        if (BinaryPrimitives.ReadUInt32LittleEndian(encoded) is var banks and not 1)
            throw new TpmFormatException($"{banks} PCR banks where one is expected,", 0);

        var slot = encoded.Slice(sizeof(uint), SlotSize);
        var bank = (TpmAlgorithm)BinaryPrimitives.ReadUInt16LittleEndian(slot);
        if (!bank.IsHash())
            throw new TpmFormatException($"PCR bank 0x{(ushort)bank:x4} is no hash this system computes,", sizeof(uint));
        if (slot[2] != SelectSize)
            throw new TpmFormatException($"a PCR selection of {slot[2]} bytes, not {SelectSize},", sizeof(uint) + 2);
        ExpectZeros(encoded, sizeof(uint) + 3 + SelectSize, ListsOffset - sizeof(uint));
        var pcrs = new PcrSet((uint)(slot[3] | slot[4] << 8 | slot[5] << 16));

        var listCount = BinaryPrimitives.ReadUInt32LittleEndian(encoded[(ListsOffset - sizeof(uint))..]);
        var expected = (pcrs.Count + DigestsPerList - 1) / DigestsPerList;
        if (listCount != expected || encoded.Length != ListsOffset + expected * DigestListSize)
        {
            throw new TpmFormatException(
                $"{listCount} digest lists in {encoded.Length} bytes, where {pcrs.Count} PCRs take {expected} lists,", ListsOffset - sizeof(uint));
        }

        return new PcrBlob(new PcrSelection(bank, pcrs), ReadValues(encoded, pcrs.Count, bank.DigestSize()));
    }

    /// <summary>What a quote over these values has as its pcrDigest (Part 3, 18.4): all of them, one after the other, hashed.</summary>
    /// <param name="hash">The hash of the quote's signature.</param>
    public byte[] ComputeDigest(TpmAlgorithm hash)
    {
        using var digest = IncrementalHash.CreateHash(hash.HashName());
        foreach (var value in Values)
            digest.AppendData(value.Span);
        return digest.GetHashAndReset();
    }

    public byte[] Encode()
    {
        var lists = (Values.Length + DigestsPerList - 1) / DigestsPerList;
        var encoded = new byte[ListsOffset + lists * DigestListSize];
        BinaryPrimitives.WriteUInt32LittleEndian(encoded, 1);
        BinaryPrimitives.WriteUInt16LittleEndian(encoded.AsSpan(4), (ushort)Selection.Bank);
        encoded[6] = SelectSize;
        for (var i = 0; i < SelectSize; i++)
            encoded[7 + i] = (byte)(Selection.Pcrs.Bits >> 8 * i & 0xFF);

        BinaryPrimitives.WriteUInt32LittleEndian(encoded.AsSpan(ListsOffset - sizeof(uint)), (uint)lists);
        for (var i = 0; i < Values.Length; i++)
        {
            var list = encoded.AsSpan(ListsOffset + i / DigestsPerList * DigestListSize, DigestListSize);
            BinaryPrimitives.WriteUInt32LittleEndian(list, (uint)Math.Min(DigestsPerList, Values.Length - i / DigestsPerList * DigestsPerList));
            var slot = list.Slice(sizeof(uint) + i % DigestsPerList * DigestSlotSize, DigestSlotSize);
            BinaryPrimitives.WriteUInt16LittleEndian(slot, (ushort)Values[i].Length);
            Values[i].Span.CopyTo(slot[sizeof(ushort)..]);
        }

        return encoded;
    }

    // Everyone who writes such blobs leaves zeros where nothing is; so one value has one encoding, and no byte is without meaning.
    private static void ExpectZeros(ReadOnlySpan<byte> encoded, int start, int end)
    {
        if (encoded[start..end].IndexOfAnyExcept((byte)0) is var at and >= 0)
            throw new TpmFormatException($"0x{encoded[start + at]:x2} where nothing is", start + at);
    }

    private static ImmutableArray<ReadOnlyMemory<byte>> ReadValues(ReadOnlySpan<byte> encoded, int count, int digestSize)
    {
        var values = ImmutableArray.CreateBuilder<ReadOnlyMemory<byte>>(count);
        for (var list = ListsOffset; list < encoded.Length; list += DigestListSize)
        {
            var inList = Math.Min(DigestsPerList, count - values.Count);
            if (BinaryPrimitives.ReadUInt32LittleEndian(encoded[list..]) is var said && said != inList)
                throw new TpmFormatException($"a list of {said} digests where {inList} are expected,", list);

            for (var i = 0; i < inList; i++)
            {
                var at = list + sizeof(uint) + i * DigestSlotSize;
                if (BinaryPrimitives.ReadUInt16LittleEndian(encoded[at..]) is var size && size != digestSize)
                    throw new TpmFormatException($"a PCR value of {size} bytes in a bank of {digestSize},", at);
                values.Add(encoded.Slice(at + sizeof(ushort), digestSize).ToArray());
                ExpectZeros(encoded, at + sizeof(ushort) + digestSize, at + DigestSlotSize);
            }

            ExpectZeros(encoded, list + sizeof(uint) + inList * DigestSlotSize, list + DigestListSize);
        }

        return values.MoveToImmutable();
    }
}
