using System.Collections.Immutable;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>Judges what a machine booted: by its event log, or by its being the boot whose log passed before.</summary>
internal static class BootJudgement
{
    /// <param name="Proven">The log was replayed into the quote.</param>
    /// <param name="Judged">The policy has looked at this boot.</param>
    internal sealed record Result(ImmutableArray<Finding> Findings, int Count, bool Proven, bool Judged, ProvenBoot? Boot);

    public static Result Judge(BootPolicy policy, VerifiedQuote quote, ReadOnlyMemory<byte>? log, ProvenBoot? start)
    {
        if (policy.Pcrs.Except(quote.Pcrs.Covered) is { IsEmpty: false } missing)
            return Broken(new Finding(BootPcrNotQuoted, $"The boot policy judges PCRs {missing}, which were not quoted."));

        var now = ProvenBoot.Of(quote, policy.Pcrs);
        if (log is null)
        {
            return start switch
            {
                not null when start.Is(now) => new Result([], 0, Proven: false, Judged: true, now),
                not null when start.ResetCount != now.ResetCount => Broken(new Finding(BootLogMissing, $"The boot log was proven in reset {start.ResetCount}, and the quote is of reset {now.ResetCount}: the machine booted anew. The next attestation asks for the log.")),
                not null => Broken(new Finding(BootLogMissing, $"PCRs {policy.Pcrs} have changed since the boot log was proven. The next attestation asks for the log.")),
                null => Broken(new Finding(BootLogMissing, "The node has a boot policy, and no boot log came.")),
            };
        }

        if (!BootLog.TryParse(log.Value, out var parsed, out var error))
            return Broken(new Finding(BootLogMalformed, $"The boot log cannot be read: {error}"));
        switch (BootReplay.Replay(parsed, quote, policy.Pcrs))
        {
            case BootReplayResult.Diverged { Findings: var findings }:
                return new Result(findings, findings.Length, Proven: false, Judged: false, null);
            case BootReplayResult.Proven { Log: var replayed }:
                var against = policy.Appraise(replayed);
                return new Result(against.Findings, against.FindingCount, Proven: true, Judged: true, against.FindingCount == 0 ? now : null);
            default:
                throw new System.Diagnostics.UnreachableException();
        }
    }

    private static Result Broken(Finding finding) => new([finding], 1, Proven: false, Judged: false, null);
}
