namespace Keylime.Tenant;

/// <summary>An entry of a cpio archive.</summary>
/// <param name="Path">From the archive's root, which is <c>/</c>; <see langword="null"/> for a name that is no UTF-8.</param>
/// <param name="Mode">As in stat(2).</param>
/// <param name="Size">Of its data, in bytes.</param>
/// <param name="Inode">The inode and the device: of a file with several names the last has the data.</param>
internal sealed record CpioEntry(string? Path, uint Mode, uint Size, (uint Inode, uint Major, uint Minor) Inode)
{
    public bool IsRegular => (Mode & 0xF000) == 0x8000;
}
