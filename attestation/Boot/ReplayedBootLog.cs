using System.Collections.Immutable;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>The events of a boot log that lead to quoted PCR values. To hold one is the proof: only <see cref="BootReplay.Replay"/> makes it.</summary>
public sealed class ReplayedBootLog
{
    internal ReplayedBootLog(VerifiedQuote quote, PcrSet proven, ImmutableArray<ReplayedEvent> events, ImmutableArray<BootEvent> remarks) =>
        (Quote, Proven, Events, UntrustedRemarks) = (quote, proven, events, remarks);

    /// <summary>The quote that proves it.</summary>
    public VerifiedQuote Quote { get; }

    /// <summary>The bank that the digests are of.</summary>
    public TpmAlgorithm Bank => Quote.Pcrs.Bank;

    /// <summary>The PCRs whose events are here, all of them and no others.</summary>
    public PcrSet Proven { get; }

    /// <summary>In the log's order.</summary>
    public ImmutableArray<ReplayedEvent> Events { get; }

    /// <summary>Events of type EV_NO_ACTION, of whatever PCR: they are extended nowhere, and nothing of them is proven.</summary>
    public ImmutableArray<BootEvent> UntrustedRemarks { get; }
}
