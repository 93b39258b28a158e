using System.Collections.Immutable;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>An event as the log has it: none of it is proven. Only <see cref="BootReplay"/> proves events, and not all of an event.</summary>
public sealed class BootEvent
{
    internal BootEvent(int index, int pcr, uint type, ImmutableArray<BootDigest> digests, ReadOnlyMemory<byte> data, BootEventData decoded) =>
        (Index, Pcr, UntrustedType, Digests, Data, UntrustedData) = (index, pcr, type, digests, data, decoded);

    /// <summary>Its place in the log; the Spec ID event of a crypto-agile log is 0.</summary>
    public int Index { get; }

    /// <summary>0 to 23; -1 (the log says 0xFFFFFFFF) for an event that is of no PCR, which only an EV_NO_ACTION can be.</summary>
    public int Pcr { get; }

    /// <summary>TCG_EVENTTYPE. Never measured: who writes the log writes what they like here.</summary>
    public uint UntrustedType { get; }

    /// <summary>The type's name as the profile has it, <c>EV_SEPARATOR</c>, or its number as <c>0x0000001f</c>.</summary>
    public string TypeName => BootEventTypes.NameOf(UntrustedType);

    /// <summary>EV_NO_ACTION: a remark in the log, never extended, so never proven.</summary>
    public bool IsRemark => UntrustedType == BootEventTypes.NoAction;

    /// <summary>A digest a bank, in the log's order.</summary>
    public ImmutableArray<BootDigest> Digests { get; }

    /// <summary>The data as they are in the log.</summary>
    public ReadOnlyMemory<byte> Data { get; }

    /// <summary>What the data say, read as the type wants them read.</summary>
    public BootEventData UntrustedData { get; }

    /// <returns><see langword="null"/> where the event has no digest for this bank.</returns>
    public ReadOnlyMemory<byte>? Digest(TpmAlgorithm bank)
    {
        foreach (var digest in Digests)
        {
            if (digest.Bank == bank)
                return digest.Value;
        }

        return null;
    }
}
