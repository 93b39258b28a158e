namespace Keylime.Attestation;

/// <summary>Bytes that are no compiled policy. Those that this system kept and authenticated are one.</summary>
public sealed class CompiledPolicyException(string what) : FormatException($"No compiled policy: {what}.");
