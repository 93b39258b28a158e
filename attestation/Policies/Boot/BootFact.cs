using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>An event as rules look at it.</summary>
/// <remarks>
/// Mostly of a log that a quote proves. For making a policy out of boots that are known to be good, and for trying one out, it is of a log
/// that is taken at its word; that never leads to a verdict.
/// </remarks>
internal readonly record struct BootFact
{
    public BootFact(ReplayedEvent source)
    {
        (Index, Pcr, Digest, Measured) = (source.Index, source.Pcr, source.Digest, source.Measured);
        (UntrustedType, UntrustedTypeName, UntrustedData) = (source.UntrustedType, source.UntrustedTypeName, source.UntrustedData);
    }

    private BootFact(BootEvent source, ReadOnlyMemory<byte> digest, MeasuredPart measured)
    {
        (Index, Pcr, Digest, Measured) = (source.Index, source.Pcr, digest, measured);
        (UntrustedType, UntrustedTypeName, UntrustedData) = (source.UntrustedType, source.TypeName, source.UntrustedData);
    }

    public int Index { get; }

    public int Pcr { get; }

    /// <summary>What was extended.</summary>
    public ReadOnlyMemory<byte> Digest { get; }

    /// <summary>Never measured: a rule may use it for words, or to choose what an event has to prove, and never as the proof.</summary>
    public uint UntrustedType { get; }

    public string UntrustedTypeName { get; }

    public BootEventData UntrustedData { get; }

    public MeasuredPart Measured { get; }

    /// <summary>The variable whose GUID, name and value the digest proves; <see langword="null"/> for anything less.</summary>
    public BootEventData.EfiVariable? ProvenVariable => (Measured, UntrustedData) switch
    {
        (MeasuredPart.Whole, BootEventData.EfiVariable variable) => variable,
        (MeasuredPart.AllButLastByte, BootEventData.EfiVariable { Value.IsEmpty: false } variable) => variable with { Value = variable.Value[..^1] }, // old shim
        _ => null,
    };

    /// <summary>The text that the digest proves; the prefix of an EV_IPL (<c>grub_cmd: </c>) is no part of it, and not proven.</summary>
    public string? ProvenText => (Measured, UntrustedData) switch
    {
        (MeasuredPart.Text or MeasuredPart.AsciiText, BootEventData.Ipl ipl) => ipl.Text,
        (MeasuredPart.Whole, BootEventData.Ipl { PrefixLength: 0 } ipl) => ipl.Text, // a prefix that was measured is one that no boot loader wrote
        _ => null,
    };

    /// <summary>The events of a log taken at its word.</summary>
    /// <exception cref="ArgumentException">The log has no digests of this bank.</exception>
    public static IReadOnlyList<BootFact> Assume(BootLog log, TpmAlgorithm bank, PcrSet pcrs)
    {
        ArgumentNullException.ThrowIfNull(log);
        var facts = new List<BootFact>();
        foreach (var e in log.Events.Where(e => !e.IsRemark && pcrs.Contains(e.Pcr)))
        {
            var digest = e.Digest(bank) ?? throw new ArgumentException($"Event {e.Index} has no {bank.ProtocolName()} digest.", nameof(bank));
            facts.Add(new BootFact(e, digest, DataRelation.Find(e, bank, digest.Span)));
        }

        return facts;
    }
}
