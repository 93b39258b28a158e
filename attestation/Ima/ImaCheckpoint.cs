using System.Collections.Immutable;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>How far a measurement list has been proven, so that the next quote needs only the lines behind it.</summary>
/// <param name="Entries">Lines proven, from the list's start.</param>
/// <param name="Bank">The PCR bank that proved them.</param>
/// <param name="Aggregate">PCR 10 of that bank after those lines.</param>
/// <param name="ResetCount">Of the quote that proved them: after another reset the list starts anew.</param>
public sealed record ImaCheckpoint(long Entries, TpmAlgorithm Bank, ReadOnlyMemory<byte> Aggregate, uint ResetCount);

/// <summary>What came of replaying a measurement list against a quote.</summary>
/// <param name="Proven">How far the quote proves it; <see langword="null"/> if no line leads to the quoted PCR 10.</param>
/// <param name="From">The first line looked at.</param>
/// <param name="To">One past the last line looked at.</param>
/// <param name="Findings">The first of them, <see cref="ImaLog.MaxFindings"/> at most.</param>
/// <param name="FindingCount">All of them.</param>
public sealed record ImaResult(ImaCheckpoint? Proven, long From, long To, ImmutableArray<Finding> Findings, int FindingCount);
