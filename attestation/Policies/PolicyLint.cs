namespace Keylime.Attestation;

/// <summary>Something in a policy that is wrong or unwise.</summary>
/// <param name="Code">Stable: <c>exclude.matches_everything</c>.</param>
/// <param name="Where">As a JSON path.</param>
/// <param name="Detail">For a person.</param>
/// <param name="IsError">The service refuses such a policy.</param>
public sealed record PolicyLint(string Code, string Where, string Detail, bool IsError);
