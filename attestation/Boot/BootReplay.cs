using System.Collections.Immutable;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>Replays a boot log into the PCRs of a quote.</summary>
/// <remarks>
/// What a match proves: which digests were extended into each of these PCRs, and in which order. What it does not prove: the type of an
/// event; its data, unless its digest is their hash (<see cref="ReplayedEvent.Measured"/>); the order between events of different PCRs; the
/// digests of other banks; and whatever an EV_NO_ACTION says.
/// </remarks>
public static class BootReplay
{
    /// <param name="wanted">The PCRs whose events are to be proven.</param>
    /// <exception cref="ArgumentOutOfRangeException">No PCR is wanted: nothing would be proven.</exception>
    public static BootReplayResult Replay(BootLog log, VerifiedQuote quote, PcrSet wanted)
    {
        ArgumentNullException.ThrowIfNull(log);
        ArgumentNullException.ThrowIfNull(quote);
        ArgumentOutOfRangeException.ThrowIfZero(wanted.Bits);

        var findings = ImmutableArray.CreateBuilder<Finding>();
        foreach (var pcr in wanted.Except(quote.Pcrs.Covered))
            findings.Add(new Finding(BootPcrNotQuoted, $"PCR {pcr} was not quoted, so its events in the boot log are not proven."));
        if (findings.Count > 0)
            return new BootReplayResult.Diverged(findings.DrainToImmutable());

        var bank = quote.Pcrs.Bank;
        if (!log.Banks.Contains(bank))
        {
            return new BootReplayResult.Diverged([new Finding(
                BootBankMissing, $"The quote is of bank {bank.ProtocolName()}; the boot log has digests for {string.Join(", ", log.Banks.Select(Name))} only.")]);
        }

        var registers = wanted.ToDictionary(static pcr => pcr, pcr => new PcrReplay(pcr, bank));
        foreach (var one in log.Events)
        {
            if (registers.TryGetValue(one.Pcr, out var register))
                register.Take(one);
        }

        foreach (var (pcr, register) in registers)
        {
            if (register.Compare(quote.Pcrs[pcr].Span) is { } finding)
                findings.Add(finding);
        }

        return findings.Count > 0
            ? new BootReplayResult.Diverged(findings.DrainToImmutable())
            : new BootReplayResult.Proven(Prove(log, quote, wanted));
    }

    private static ReplayedBootLog Prove(BootLog log, VerifiedQuote quote, PcrSet wanted)
    {
        var bank = quote.Pcrs.Bank;
        var events = ImmutableArray.CreateBuilder<ReplayedEvent>();
        var remarks = ImmutableArray.CreateBuilder<BootEvent>();
        foreach (var one in log.Events)
        {
            if (one.IsRemark)
                remarks.Add(one);
            else if (wanted.Contains(one.Pcr) && one.Digest(bank) is { } digest)
                events.Add(new ReplayedEvent(one, digest, DataRelation.Find(one, bank, digest.Span)));
        }

        return new ReplayedBootLog(quote, wanted, events.DrainToImmutable(), remarks.DrainToImmutable());
    }

    private static string Name(TpmAlgorithm bank) => bank.ProtocolName() ?? $"0x{(ushort)bank:x4}";
}
