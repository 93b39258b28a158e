using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>What came of making a boot policy out of boots that are known to be good.</summary>
public abstract record BootPolicyDraft
{
    private BootPolicyDraft()
    {
    }

    /// <summary>A policy that accepts each of the boots it was made of.</summary>
    /// <param name="Utf8Json">Its text.</param>
    /// <param name="Notes">What a person should know before using it: what was classed as volatile, and what it cannot tell.</param>
    public sealed record Made(ReadOnlyMemory<byte> Utf8Json, BootPolicy Policy, ImmutableArray<string> Notes) : BootPolicyDraft;

    /// <summary>No policy of this form accepts all of the boots and still says something.</summary>
    /// <param name="Reasons">Each with the boot and the event that stand in the way.</param>
    public sealed record Refused(ImmutableArray<string> Reasons) : BootPolicyDraft;
}
