using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>EFI_DEVICE_PATH_PROTOCOL (UEFI 2.10, 10.3): the way to a device, or to a file on it.</summary>
public sealed record EfiDevicePath(ImmutableArray<EfiDevicePathNode> Nodes)
{
    /// <summary>The file of the path's file nodes (10.3.5.4), as <c>\EFI\debian\shimx64.efi</c>; empty where there is none.</summary>
    public string File => string.Concat(Nodes.Where(static node => node.Type == 4 && node.Subtype == 4).Select(static node => node.Text));

    /// <summary>True where a node is of the network: MAC address, IPv4, IPv6, URI (10.3.4).</summary>
    public bool IsNetwork => Nodes.Any(static node => node.Type == 3 && node.Subtype is (11 or 12 or 13 or 24));

    /// <summary>True where the path leads into a firmware volume (10.3.5.6, PI 1.8 volume 3).</summary>
    public bool IsFirmwareVolume => Nodes.Any(static node => node.Type == 4 && node.Subtype is (6 or 7));

    /// <summary>The path in the form of UEFI 2.10, 10.6: <c>PciRoot(0x0)/Pci(0x1,0x1)/HD(1,GPT,…)/\EFI\BOOT\BOOTX64.EFI</c>.</summary>
    public override string ToString() => string.Join('/', Nodes.Select(static node => node.Text));
}

/// <summary>One step of a device path.</summary>
/// <param name="Data">Without the four bytes of type and length.</param>
public readonly record struct EfiDevicePathNode(byte Type, byte Subtype, ReadOnlyMemory<byte> Data)
{
    /// <summary>The step in the form of UEFI 2.10, 10.6.</summary>
    public string Text => DevicePathText.Of(Type, Subtype, Data);
}
