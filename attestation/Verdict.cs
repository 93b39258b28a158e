using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>What a verdict looked at. A layer that nobody judged is no part of a pass.</summary>
/// <param name="BootPcrValues">PCR values were compared with allowed ones.</param>
/// <param name="BootEventLog">The firmware's event log was replayed and judged by a boot policy, now or earlier in this boot.</param>
/// <param name="RuntimeIma">The measurement list was replayed and judged by a runtime policy.</param>
public sealed record Coverage(IdentityLevel Identity, bool BootPcrValues, bool BootEventLog, bool RuntimeIma);

/// <summary>The judgement: every reason against, none of them hidden by the one before, and what was proven.</summary>
public sealed class Verdict
{
    internal Verdict(ImmutableArray<Finding> findings, int findingCount, Coverage coverage, bool brokenEvidenceChain)
    {
        (Findings, FindingCount, Coverage) = (findings, findingCount, coverage);
        BrokenEvidenceChain = brokenEvidenceChain;
    }

    /// <summary>True when nothing speaks against the machine.</summary>
    public bool Pass => FindingCount == 0;

    public ImmutableArray<Finding> Findings { get; }

    /// <summary>How many there were, where not all are kept.</summary>
    public int FindingCount { get; }

    public Coverage Coverage { get; }

    /// <summary>The evidence itself cannot be believed, as opposed to telling something that a policy forbids.</summary>
    public bool BrokenEvidenceChain { get; }

    /// <summary>The quote, if it verified.</summary>
    public VerifiedQuote? Quote { get; internal init; }

    /// <summary>What the TPM's clock says, if the quote verified.</summary>
    public ClockChange? Clock { get; internal init; }

    /// <summary>The boot, if a boot policy judged its log and had nothing against it.</summary>
    public ProvenBoot? Boot { get; internal init; }

    /// <summary>Whether a boot log came that the quote proves, whatever the policy says of it.</summary>
    public bool BootLogProven { get; internal init; }

    /// <summary>The measurement list, if it was looked at.</summary>
    public ImaResult? Ima { get; internal init; }
}
