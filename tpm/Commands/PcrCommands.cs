using System.Collections.Immutable;

namespace Keylime.Tpm.Commands;

/// <summary>What TPM2_PCR_Read gives: the values of as many PCRs as fit, and which those are.</summary>
internal sealed record PcrReading(uint UpdateCounter, ImmutableArray<PcrSelection> Read, ImmutableArray<ReadOnlyMemory<byte>> Values);

/// <summary>TPM2_PCR_Read (Part 3, 22.4).</summary>
internal readonly record struct PcrRead(PcrSelection Selection) : ITpmCommand<PcrReading>
{
    private const uint MaxDigests = 8; // TPML_DIGEST, Part 2, 10.9.5

    public static string Name => "TPM2_PCR_Read";

    public static uint Code => 0x0000017E;

    public void WriteParameters(TpmWriter writer) => PcrSelection.WriteList(writer, Selection);

    public static PcrReading ReadResponse(uint handle, ref TpmReader parameters)
    {
        var counter = parameters.ReadUInt32();
        var read = PcrSelection.ReadList(ref parameters);
        var at = parameters.Position;
        var count = parameters.ReadUInt32();
        if (count > MaxDigests)
            throw new TpmFormatException($"{count} digests, {MaxDigests} at most,", at);

        var values = ImmutableArray.CreateBuilder<ReadOnlyMemory<byte>>((int)count);
        for (var i = 0; i < count; i++)
            values.Add(parameters.ReadSized(TpmAlgorithms.MaxDigestSize, "digest").ToArray());
        return new PcrReading(counter, read, values.MoveToImmutable());
    }
}

/// <summary>TPM2_PCR_Extend (Part 3, 22.2): one digest for each bank (TPML_DIGEST_VALUES).</summary>
internal readonly record struct PcrExtend(int Pcr, ImmutableArray<(TpmAlgorithm Bank, ReadOnlyMemory<byte> Digest)> Digests) : ITpmCommand<None>
{
    public static string Name => "TPM2_PCR_Extend";

    public static uint Code => 0x00000182;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32((uint)Pcr);

    public void WriteParameters(TpmWriter writer)
    {
        writer.WriteUInt32((uint)Digests.Length);
        foreach (var (bank, digest) in Digests)
        {
            writer.WriteUInt16((ushort)bank);
            writer.WriteBytes(digest.Span); // TPMT_HA: the algorithm gives the size
        }
    }

    public static None ReadResponse(uint handle, ref TpmReader parameters) => default;
}

/// <summary>TPM2_PCR_Reset (Part 3, 22.8).</summary>
internal readonly record struct PcrReset(int Pcr) : ITpmCommand<None>
{
    public static string Name => "TPM2_PCR_Reset";

    public static uint Code => 0x0000013D;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32((uint)Pcr);

    public void WriteParameters(TpmWriter writer)
    {
    }

    public static None ReadResponse(uint handle, ref TpmReader parameters) => default;
}
