using System.Collections.Immutable;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>How to make event rules.</summary>
public sealed record BootPolicyMakerOptions
{
    /// <summary>The bank that nodes are quoted in.</summary>
    public TpmAlgorithm Bank { get; init; } = TpmAlgorithm.Sha256;

    /// <summary>The PCRs to judge.</summary>
    /// <remarks>
    /// Not PCR 11 and 15 unless they are asked for: systemd extends them after the boot, which the firmware's log does not have. A PCR without events is
    /// judged too: the policy then says that nothing is measured there.
    /// </remarks>
    public PcrSet Pcrs { get; init; } = PcrSet.Of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14);

    /// <summary>What the policy is for, in a line.</summary>
    public string About { get; init; } = "";

    /// <summary>Names of volatile classes that are to be used even if the boots do not differ in them.</summary>
    public ImmutableHashSet<string> Volatile { get; init; } = [];
}
