using System.Collections.Immutable;

namespace Keylime.Tpm;

/// <summary>TPMS_PCR_SELECTION (Part 2, 10.6.2): the PCRs of one bank.</summary>
/// <param name="Bank">The bank's hash.</param>
/// <param name="Pcrs">The PCRs selected.</param>
/// <param name="BitmapSize">sizeofSelect, in bytes: 3 on every PC; kept, so that what was read is written again.</param>
public readonly record struct PcrSelection(TpmAlgorithm Bank, PcrSet Pcrs, byte BitmapSize)
{
    /// <summary>sizeofSelect of a TPM with 24 PCRs, which is what the PC Client platform has.</summary>
    public const byte PcBitmapSize = 3;

    private const int MaxBitmapSize = sizeof(uint);

    public PcrSelection(TpmAlgorithm bank, PcrSet pcrs)
        : this(bank, pcrs, PcBitmapSize)
    {
    }

    public static PcrSelection Read(ref TpmReader reader)
    {
        var bank = (TpmAlgorithm)reader.ReadUInt16();
        var at = reader.Position;
        var bitmap = reader.ReadBytes(reader.ReadUInt8());
        if (bitmap.Length > MaxBitmapSize)
            throw new TpmFormatException($"a PCR bitmap of {bitmap.Length} bytes, {MaxBitmapSize} at most,", at);

        var bits = 0u;
        for (var i = 0; i < bitmap.Length; i++)
            bits |= (uint)bitmap[i] << 8 * i;
        return new PcrSelection(bank, new PcrSet(bits), (byte)bitmap.Length);
    }

    public void Write(TpmWriter writer)
    {
        if (BitmapSize < MaxBitmapSize && Pcrs.Bits >> 8 * BitmapSize != 0)
            throw new InvalidOperationException($"PCRs {Pcrs} do not fit a bitmap of {BitmapSize} bytes.");

        writer.WriteUInt16((ushort)Bank);
        writer.WriteUInt8(BitmapSize);
        for (var i = 0; i < BitmapSize; i++)
            writer.WriteUInt8((byte)(Pcrs.Bits >> 8 * i & 0xFF));
    }

    /// <summary>TPML_PCR_SELECTION (Part 2, 10.9.7).</summary>
    public static ImmutableArray<PcrSelection> ReadList(ref TpmReader reader)
    {
        const uint maxBanks = 16; // HASH_COUNT of any TPM known; a list is never longer
        var at = reader.Position;
        var count = reader.ReadUInt32();
        if (count > maxBanks)
            throw new TpmFormatException($"{count} PCR banks, {maxBanks} at most,", at);

        var selections = ImmutableArray.CreateBuilder<PcrSelection>((int)count);
        for (var i = 0; i < count; i++)
            selections.Add(Read(ref reader));
        return selections.MoveToImmutable();
    }

    public static void WriteList(TpmWriter writer, params ReadOnlySpan<PcrSelection> selections)
    {
        writer.WriteUInt32((uint)selections.Length);
        foreach (var selection in selections)
            selection.Write(writer);
    }
}
