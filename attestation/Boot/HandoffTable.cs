namespace Keylime.Attestation;

/// <summary>EFI_CONFIGURATION_TABLE: a vendor's GUID, and where in memory the table is.</summary>
public readonly record struct HandoffTable(Guid Vendor, ulong Address);
