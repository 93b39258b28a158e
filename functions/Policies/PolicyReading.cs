using Keylime.Attestation;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Policies;

/// <summary>What a policy's text is: something to judge with, or the reason it is not.</summary>
internal abstract record PolicyReading(PolicyKind Kind, IReadOnlyList<string> Warnings, IReadOnlyList<string> Signers)
{
    internal sealed record Runtime(RuntimePolicy Policy, IReadOnlyList<string> By) : PolicyReading(PolicyKind.Runtime, Policy.Warnings, By);

    internal sealed record Boot(BootPolicy Policy, IReadOnlyList<string> By) : PolicyReading(PolicyKind.Boot, Policy.Warnings, By);

    /// <param name="Error">What, where, what was expected.</param>
    internal sealed record Refused(string Error) : PolicyReading(PolicyKind.Runtime, [], []);
}
