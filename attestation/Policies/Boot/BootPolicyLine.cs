namespace Keylime.Attestation;

/// <summary>One set of values that a boot policy allows or wants, for a comparison in words.</summary>
/// <param name="Label">What it is of: <c>shim</c>, <c>dbx</c>.</param>
/// <param name="Unit">What one value is: <c>hash</c>, <c>certificate</c>, <c>text</c>.</param>
internal sealed record BootPolicyLine(string Label, string Unit, IReadOnlyCollection<string> Values);
