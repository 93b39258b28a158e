using System.Diagnostics.CodeAnalysis;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>A quote that a TPM's signature vouches for. To hold one is the proof: only <see cref="Quote.Verify"/> makes it.</summary>
public sealed class VerifiedQuote
{
    internal VerifiedQuote(VerifiedPcrs pcrs, ClockInfo clock, ulong firmwareVersion) =>
        (Pcrs, Clock, FirmwareVersion) = (pcrs, clock, firmwareVersion);

    public VerifiedPcrs Pcrs { get; }

    public ClockInfo Clock { get; }

    /// <summary>As the TPM gives it: its meaning is the maker's.</summary>
    public ulong FirmwareVersion { get; }
}

/// <summary>PCR values that a TPM's signature vouches for.</summary>
public sealed class VerifiedPcrs
{
    private readonly Dictionary<int, ReadOnlyMemory<byte>> _values;

    internal VerifiedPcrs(PcrBlob values)
    {
        _values = values.Selection.Pcrs.Zip(values.Values).ToDictionary();
        (Bank, Covered) = (values.Selection.Bank, values.Selection.Pcrs);
    }

    public TpmAlgorithm Bank { get; }

    /// <summary>The PCRs that the quote covered.</summary>
    public PcrSet Covered { get; }

    [SuppressMessage("Design", "CA1043:Use integral or string argument for indexers", Justification = "int is integral.")]
    public ReadOnlyMemory<byte> this[int pcr] =>
        _values.TryGetValue(pcr, out var value) ? value : throw new KeyNotFoundException($"PCR {pcr} was not quoted.");
}
