using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>What came of replaying a boot log against a quote.</summary>
public abstract record BootReplayResult
{
    private BootReplayResult()
    {
    }

    /// <summary>Every PCR that was wanted is quoted and has the value that the log leads to.</summary>
    public sealed record Proven(ReplayedBootLog Log) : BootReplayResult;

    /// <summary>The log is not the story of these PCRs: nothing of it is proven.</summary>
    public sealed record Diverged(ImmutableArray<Finding> Findings) : BootReplayResult;
}
