namespace Keylime.Attestation;

/// <summary>A rule for entries that no list of files can name, as it stands in a policy.</summary>
/// <param name="Name"><c>boot_aggregate</c>, <c>memfd</c> or <c>dpkg-temporary</c>.</param>
/// <param name="Mode"><c>check</c>, <c>allow</c> or <c>off</c>.</param>
/// <param name="Reason">The operator's, from the policy.</param>
/// <param name="Meaning">What the rule does in this mode, for a person.</param>
/// <param name="IsDefault">The policy does not mention it.</param>
public sealed record ClassRule(string Name, string Mode, string? Reason, string Meaning, bool IsDefault);
