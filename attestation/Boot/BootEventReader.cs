using System.Collections.Immutable;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>The frame of an event (PFP 1.06, 10.2): PCR, type, digests, size, data.</summary>
internal static class BootEventReader
{
    private const int MaxPcr = 23; // PC Client Platform TPM Profile 1.05, 4.6: 24 PCRs
    private const uint NoPcr = uint.MaxValue;

    /// <summary>TCG_PCR_EVENT: one digest, of SHA-1. The first event of every log has this form.</summary>
    public static BootEvent ReadLegacy(ref BootReader reader, int index)
    {
        var (pcr, type) = ReadHead(ref reader);
        var digest = reader.ReadBytes((ulong)TpmAlgorithm.Sha1.DigestSize());
        return ReadData(ref reader, index, pcr, type, [new BootDigest(TpmAlgorithm.Sha1, digest)]);
    }

    /// <summary>TCG_PCR_EVENT2: a digest for each bank.</summary>
    public static BootEvent Read(ref BootReader reader, int index, ImmutableArray<(TpmAlgorithm Bank, int Size)> banks)
    {
        var (pcr, type) = ReadHead(ref reader);
        var at = reader.Position;
        var count = reader.ReadUInt32();
        if (count > (uint)banks.Length)
            BootReader.Throw($"{count} digests in a log of {banks.Length} banks", at);

        var digests = ImmutableArray.CreateBuilder<BootDigest>((int)count);
        for (var i = 0u; i < count; i++)
        {
            at = reader.Position;
            var bank = (TpmAlgorithm)reader.ReadUInt16();
            if (SizeIn(banks, bank) is not { } size)
                BootReader.Throw($"a digest of algorithm 0x{(ushort)bank:x4}, which the first event does not list,", at);
            else if (digests.Any(other => other.Bank == bank))
                BootReader.Throw($"a second digest of algorithm 0x{(ushort)bank:x4}", at);
            else
                digests.Add(new BootDigest(bank, reader.ReadBytes((ulong)size)));
        }

        return ReadData(ref reader, index, pcr, type, digests.DrainToImmutable());
    }

    private static (int Pcr, uint Type) ReadHead(ref BootReader reader)
    {
        var at = reader.Position;
        var (pcr, type) = (reader.ReadUInt32(), reader.ReadUInt32());
        if (pcr == NoPcr && type == BootEventTypes.NoAction)
            return (-1, type); // PFP 1.06, 10.4.5: an EV_NO_ACTION that is of no PCR
        if (pcr > MaxPcr)
            BootReader.Throw($"PCR {pcr}, {MaxPcr} at most,", at);
        return ((int)pcr, type);
    }

    private static BootEvent ReadData(ref BootReader reader, int index, int pcr, uint type, ImmutableArray<BootDigest> digests)
    {
        var at = reader.Position;
        var size = reader.ReadUInt32();
        if (size > BootLog.MaxEventBytes)
            BootReader.Throw($"event data of {size} bytes, {BootLog.MaxEventBytes} at most,", at);
        var data = reader.ReadBytes(size);
        return new BootEvent(index, pcr, type, digests, data, BootDataReader.Read(pcr, type, data));
    }

    private static int? SizeIn(ImmutableArray<(TpmAlgorithm Bank, int Size)> banks, TpmAlgorithm wanted)
    {
        foreach (var (bank, size) in banks)
        {
            if (bank == wanted)
                return size;
        }

        return null;
    }
}
