using System.Collections.Immutable;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>What the two languages of boot policies have in common.</summary>
internal interface IBootRules
{
    BootPolicyFormat Format { get; }

    /// <summary>The PCRs whose events are judged, all of them.</summary>
    PcrSet Pcrs { get; }

    /// <summary>What the policy says and would be wiser not to, or says in vain.</summary>
    ImmutableArray<string> Warnings { get; }

    /// <summary>What the policy allows, line by line, for a comparison in words.</summary>
    IEnumerable<BootPolicyLine> Lines { get; }

    /// <param name="events">Of <see cref="Pcrs"/> alone, in the log's order.</param>
    void Judge(IReadOnlyList<BootFact> events, TpmAlgorithm bank, BootFindings findings);
}
