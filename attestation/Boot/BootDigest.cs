using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>What an event says that it extended in one bank.</summary>
/// <param name="Bank">May be one that this system does not compute: its digest is kept as it is.</param>
public readonly record struct BootDigest(TpmAlgorithm Bank, ReadOnlyMemory<byte> Value);
