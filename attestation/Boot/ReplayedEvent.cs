using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>An event that a quote proves: that this digest was extended into this PCR, at this place among the PCR's events.</summary>
/// <remarks>The type is never proven, and the data only where <see cref="DataIsMeasured"/>; their names say so.</remarks>
public sealed class ReplayedEvent
{
    private readonly BootEvent _event;

    internal ReplayedEvent(BootEvent source, ReadOnlyMemory<byte> digest, MeasuredPart measured) => (_event, Digest, Measured) = (source, digest, measured);

    /// <summary>Its place in the whole log. Proven is only the order of events of one PCR.</summary>
    public int Index => _event.Index;

    public int Pcr => _event.Pcr;

    /// <summary>In the quoted bank.</summary>
    public ReadOnlyMemory<byte> Digest { get; }

    public uint UntrustedType => _event.UntrustedType;

    public string UntrustedTypeName => _event.TypeName;

    public BootEventData UntrustedData => _event.UntrustedData;

    /// <summary>The data's bytes as the log has them.</summary>
    public ReadOnlyMemory<byte> UntrustedBytes => _event.Data;

    /// <summary>Which part of the data the digest proves.</summary>
    public MeasuredPart Measured { get; }

    /// <summary>The digest is the hash of exactly these data, or of the documented part of them: nobody changed them.</summary>
    public bool DataIsMeasured => Measured != MeasuredPart.None;

    /// <summary>What the log says that other banks were extended with: the quote is of one bank and proves none of the others.</summary>
    /// <returns><see langword="null"/> where the log has no digest for this bank.</returns>
    public ReadOnlyMemory<byte>? UntrustedDigest(TpmAlgorithm bank) => _event.Digest(bank);
}
