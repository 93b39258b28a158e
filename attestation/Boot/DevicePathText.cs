using System.Text;

namespace Keylime.Attestation;

/// <summary>Device path nodes in the words of UEFI 2.10, 10.6.1.6; those that are not met in boot logs as <c>Path(type,subtype,hex)</c>.</summary>
internal static class DevicePathText
{
    private const uint PnpIds = 0x41D0; // the compressed form of "PNP"

    public static string Of(byte type, byte subtype, ReadOnlyMemory<byte> data)
    {
        if (data.Length < LeastSize(type, subtype))
            return Raw(type, subtype, data); // shorter than its kind: only its text is lost

        var reader = new BootReader(data);
        return Known(type, subtype, ref reader) ?? Raw(type, subtype, data);
    }

    // What Known reads, in bytes. A log may have millions of nodes, so none of them may take an exception.
    private static int LeastSize(byte type, byte subtype) => (type, subtype) switch
    {
        (1, 1) => 2,
        (1, 3) or (4, 2) => 20,
        (1, 4) or (3, 10) or (4, 3) or (4, 6) or (4, 7) => 16,
        (2, 1) => 8,
        (1, 5) or (3, 1) or (3, 2) or (5, 1) => 4,
        (3, 5) => 2,
        (3, 11) => 33,
        (3, 12) => 8,
        (3, 13) => 32,
        (3, 17) or (3, 26) or (3, 29) => 1,
        (3, 18) => 6,
        (3, 23) => 12,
        (4, 1) => 38,
        _ => 0,
    };

    private static string Raw(byte type, byte subtype, ReadOnlyMemory<byte> data) =>
        data.IsEmpty ? $"Path({type},{subtype})" : $"Path({type},{subtype},{Convert.ToHexStringLower(data.Span)})";

    private static string? Known(byte type, byte subtype, ref BootReader reader) => (type, subtype) switch
    {
        (1, 1) => Pci(reader.ReadUInt8(), reader.ReadUInt8()),
        (1, 3) => $"MemoryMapped(0x{reader.ReadUInt32():x},0x{reader.ReadUInt64():x},0x{reader.ReadUInt64():x})",
        (1, 4) => Vendor("VenHw", ref reader),
        (1, 5) => $"Ctrl(0x{reader.ReadUInt32():x})",
        (2, 1) => Acpi(reader.ReadUInt32(), reader.ReadUInt32()),
        (3, 1) => Ata(ref reader),
        (3, 2) => $"Scsi(0x{reader.ReadUInt16():x},0x{reader.ReadUInt16():x})",
        (3, 5) => Usb(reader.ReadUInt8(), reader.ReadUInt8()),
        (3, 10) => Vendor("VenMsg", ref reader),
        (3, 11) => Mac(ref reader),
        (3, 12) => IPv4(ref reader),
        (3, 13) => IPv6(ref reader),
        (3, 17) => $"Unit(0x{reader.ReadUInt8():x})",
        (3, 18) => Sata(reader.ReadUInt16(), reader.ReadUInt16(), reader.ReadUInt16()),
        (3, 23) => NVMe(reader.ReadUInt32(), reader.ReadBytes(8).Span),
        (3, 24) => BootText.TryReadUtf8(reader.ReadRest().Span, out var uri) ? $"Uri({uri})" : null,
        (3, 26) => $"SD(0x{reader.ReadUInt8():x})",
        (3, 29) => $"eMMC(0x{reader.ReadUInt8():x})",
        (4, 1) => HardDrive(ref reader),
        (4, 2) => $"CDROM(0x{reader.ReadUInt32():x},0x{reader.ReadUInt64():x},0x{reader.ReadUInt64():x})",
        (4, 3) => Vendor("VenMedia", ref reader),
        (4, 4) => BootText.TryReadUtf16(reader.ReadRest().Span, out var file) ? file : null,
        (4, 6) => $"FvFile({reader.ReadGuid()})",
        (4, 7) => $"Fv({reader.ReadGuid()})",
        (5, 1) => Bbs(ref reader),
        (0x7F, 0x01) => ",", // another path follows
        _ => null,
    };

    private static string Pci(byte function, byte device) => $"Pci(0x{device:x},0x{function:x})";

    private static string Acpi(uint hid, uint uid) => (hid & 0xFFFF, hid >> 16) switch
    {
        (PnpIds, 0x0A03) => $"PciRoot(0x{uid:x})",
        (PnpIds, 0x0A08) => $"PcieRoot(0x{uid:x})",
        (PnpIds, 0x0604) => $"Floppy(0x{uid:x})",
        _ => $"Acpi(0x{hid:x8},0x{uid:x})",
    };

    private static string Ata(ref BootReader reader)
    {
        var (secondary, slave, lun) = (reader.ReadUInt8(), reader.ReadUInt8(), reader.ReadUInt16());
        return $"Ata({(secondary == 0 ? "Primary" : "Secondary")},{(slave == 0 ? "Master" : "Slave")},0x{lun:x})";
    }

    private static string Usb(byte port, byte @interface) => $"USB(0x{port:x},0x{@interface:x})";

    private static string Sata(ushort port, ushort multiplier, ushort lun) => $"Sata(0x{port:x},0x{multiplier:x},0x{lun:x})";

    private static string NVMe(uint @namespace, ReadOnlySpan<byte> eui) => // the EUI-64 from its last byte to its first
        $"NVMe(0x{@namespace:x},{eui[7]:X2}-{eui[6]:X2}-{eui[5]:X2}-{eui[4]:X2}-{eui[3]:X2}-{eui[2]:X2}-{eui[1]:X2}-{eui[0]:X2})";

    private static string Mac(ref BootReader reader)
    {
        var address = reader.ReadBytes(32).Span;
        var kind = reader.ReadUInt8();
        return $"MAC({Convert.ToHexStringLower(kind is 0 or 1 ? address[..6] : address)},0x{kind:x})";
    }

    private static string IPv4(ref BootReader reader)
    {
        _ = reader.ReadUInt32(); // the machine's own address
        return $"IPv4({reader.ReadUInt8()}.{reader.ReadUInt8()}.{reader.ReadUInt8()}.{reader.ReadUInt8()})";
    }

    private static string IPv6(ref BootReader reader)
    {
        _ = reader.ReadBytes(16);
        return $"IPv6({Convert.ToHexStringLower(reader.ReadBytes(16).Span)})";
    }

    private static string HardDrive(ref BootReader reader)
    {
        var (partition, start, size) = (reader.ReadUInt32(), reader.ReadUInt64(), reader.ReadUInt64());
        var signature = reader.ReadBytes(16).Span;
        var (_, kind) = (reader.ReadUInt8(), reader.ReadUInt8());
        var (table, id) = kind switch
        {
            1 => ("MBR", $"0x{BitConverter.ToUInt32(signature):x8}"),
            2 => ("GPT", new Guid(signature).ToString()),
            _ => ($"{kind}", Convert.ToHexStringLower(signature)),
        };
        return $"HD({partition},{table},{id},0x{start:x},0x{size:x})";
    }

    private static string Bbs(ref BootReader reader)
    {
        var (kind, _) = (reader.ReadUInt16(), reader.ReadUInt16());
        return $"BBS(0x{kind:x},{Encoding.Latin1.GetString(reader.ReadRest().Span.TrimEnd((byte)0))})";
    }

    private static string Vendor(string name, ref BootReader reader)
    {
        var vendor = reader.ReadGuid();
        return reader.AtEnd ? $"{name}({vendor})" : $"{name}({vendor},{Convert.ToHexStringLower(reader.ReadRest().Span)})";
    }
}
