namespace Keylime.Attestation;

/// <summary>An entry of a GUID partition table (UEFI 2.10, 5.3.3).</summary>
/// <param name="FirstBlock">LBA.</param>
/// <param name="LastBlock">LBA, inclusive.</param>
public sealed record GptPartition(Guid Type, Guid Id, ulong FirstBlock, ulong LastBlock, ulong Attributes, string Name);
