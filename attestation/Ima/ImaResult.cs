using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>What came of replaying a measurement list against a quote.</summary>
/// <param name="Proven">How far the quote proves it; <see langword="null"/> if no line leads to the quoted PCR 10.</param>
/// <param name="From">The first line looked at.</param>
/// <param name="To">One past the last line looked at.</param>
/// <param name="Findings">The first of them, <see cref="ImaLog.MaxFindings"/> at most.</param>
/// <param name="FindingCount">All of them.</param>
public sealed record ImaResult(ImaCheckpoint? Proven, long From, long To, ImmutableArray<Finding> Findings, int FindingCount)
{
    /// <summary>Why the lines that nobody objected to were accepted.</summary>
    public ImaTally Tally { get; init; }
}
