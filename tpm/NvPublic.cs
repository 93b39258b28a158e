namespace Keylime.Tpm;

/// <summary>TPMS_NV_PUBLIC (Part 2, 13.5), as far as reading needs it.</summary>
/// <param name="Size">Of the data, in bytes.</param>
public readonly record struct NvPublic(uint Index, uint Attributes, ushort Size)
{
    private const uint OwnerReadBit = 1 << 17;
    private const uint AuthReadBit = 1 << 18;
    private const uint WrittenBit = 1 << 29;

    /// <summary>TPMA_NV_AUTHREAD: the index's own (empty) password lets one read.</summary>
    public bool AuthRead => (Attributes & AuthReadBit) != 0;

    /// <summary>TPMA_NV_OWNERREAD.</summary>
    public bool OwnerRead => (Attributes & OwnerReadBit) != 0;

    /// <summary>TPMA_NV_WRITTEN: there is something to read.</summary>
    public bool Written => (Attributes & WrittenBit) != 0;
}
