namespace Keylime.Attestation;

/// <summary>A signature in an envelope, whoever made it.</summary>
/// <param name="KeyId">A hint that nothing is trusted for; empty where there is none.</param>
public sealed record DsseSignature(string KeyId, ReadOnlyMemory<byte> Value);
