using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>What a boot policy says of a boot log.</summary>
/// <param name="Findings">In the order of the log's events, the first divergent one first; behind them what is missing. At most <see cref="BootPolicy.MaxFindings"/>.</param>
/// <param name="FindingCount">How many there were, where not all are kept.</param>
public sealed record BootAppraisal(ImmutableArray<Finding> Findings, int FindingCount)
{
    /// <summary>True when no event speaks against the boot, and none is missing.</summary>
    public bool Pass => FindingCount == 0;
}
