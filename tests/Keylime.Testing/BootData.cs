using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Keylime.Attestation;

namespace Keylime.Testing;

/// <summary>The data of boot log events, byte for byte as firmware writes them (PC Client Platform Firmware Profile 1.06, 10.2; UEFI 2.10).</summary>
public static class BootData
{
    public static readonly Guid Owner = new("77fa9abd-0359-4d32-bd60-28f4e78f784b");
    public static readonly Guid Disk = new("11111111-2222-3333-4444-555555555555");

    public static byte[] U16(ushort value)
    {
        var bytes = new byte[sizeof(ushort)];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, value);
        return bytes;
    }

    public static byte[] U32(uint value)
    {
        var bytes = new byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        return bytes;
    }

    public static byte[] U64(ulong value)
    {
        var bytes = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return bytes;
    }

    /// <summary>UTF-16 with its NUL.</summary>
    public static byte[] Utf16(string text) => Encoding.Unicode.GetBytes(text + '\0');

    /// <summary>UEFI_VARIABLE_DATA.</summary>
    public static byte[] Variable(Guid vendor, string name, ReadOnlySpan<byte> value) =>
        [.. vendor.ToByteArray(), .. U64((ulong)name.Length), .. U64((ulong)value.Length), .. Encoding.Unicode.GetBytes(name), .. value];

    /// <summary>EFI_SIGNATURE_DATA.</summary>
    public static byte[] Signature(ReadOnlySpan<byte> data) => [.. Owner.ToByteArray(), .. data];

    /// <summary>EFI_SIGNATURE_LIST whose three sizes are what they should be.</summary>
    public static byte[] List(Guid type, params byte[][] signatures) =>
        RawList(type, (uint)(28 + signatures.Sum(static s => s.Length)), 0, (uint)signatures[0].Length, [.. signatures.SelectMany(static s => s)]);

    /// <summary>The same with whatever sizes.</summary>
    public static byte[] RawList(Guid type, uint listSize, uint headerSize, uint signatureSize, byte[] rest) =>
        [.. type.ToByteArray(), .. U32(listSize), .. U32(headerSize), .. U32(signatureSize), .. rest];

    public static byte[] X509List(ReadOnlySpan<byte> certificate) => List(EfiGuids.X509, Signature(certificate));

    /// <summary>The SHA-256 of each text, in one list.</summary>
    public static byte[] Sha256List(ReadOnlySpan<byte> first, ReadOnlySpan<byte> second) =>
        List(EfiGuids.Sha256, Signature(SHA256.HashData(first)), Signature(SHA256.HashData(second)));

    /// <summary>A node of a device path.</summary>
    public static byte[] Node(byte type, byte subtype, params byte[] data) => [type, subtype, .. U16((ushort)(4 + data.Length)), .. data];

    public static byte[] EndNode => Node(0x7F, 0xFF);

    /// <summary>PciRoot(0x0)/Pci(0x2,0x0).</summary>
    public static byte[] PciPath() => [.. Node(2, 1, [.. U32(0x0A0341D0), .. U32(0)]), .. Node(1, 1, 0, 2), .. EndNode];

    /// <summary>HD(1,GPT,…)/FILE.</summary>
    public static byte[] DiskPath(string file) =>
        [.. Node(4, 1, [.. U32(1), .. U64(2048), .. U64(2048), .. Disk.ToByteArray(), 2, 2]), .. Node(4, 4, Utf16(file)), .. EndNode];

    /// <summary>EFI_LOAD_OPTION.</summary>
    public static byte[] LoadOption(string description, byte[] path, uint attributes = 1) => [.. U32(attributes), .. U16((ushort)path.Length), .. Utf16(description), .. path];

    /// <summary>UEFI_IMAGE_LOAD_EVENT.</summary>
    public static byte[] Image(byte[] path) => [.. U64(0x7E00_0000), .. U64(0x1_0000), .. U64(0), .. U64((ulong)path.Length), .. path];

    /// <summary>UEFI_PLATFORM_FIRMWARE_BLOB.</summary>
    public static byte[] Blob(ulong start, ulong length) => [.. U64(start), .. U64(length)];

    /// <summary>UEFI_PLATFORM_FIRMWARE_BLOB2.</summary>
    public static byte[] Blob2(string description, ulong start, ulong length) => [(byte)description.Length, .. Encoding.ASCII.GetBytes(description), .. Blob(start, length)];

    /// <summary>UEFI_HANDOFF_TABLE_POINTERS.</summary>
    public static byte[] Tables(params (Guid Vendor, ulong Address)[] tables) =>
        [.. U64((ulong)tables.Length), .. tables.SelectMany(static t => (byte[])[.. t.Vendor.ToByteArray(), .. U64(t.Address)])];

    /// <summary>UEFI_GPT_DATA.</summary>
    public static byte[] Gpt(params (string Name, ulong First, ulong Last)[] partitions) =>
    [
        .. "EFI PART"u8, .. U32(0x10000), .. U32(92), .. U32(0), .. U32(0), .. U64(1), .. U64(8191), .. U64(34), .. U64(8158), .. Disk.ToByteArray(), .. U64(2), .. U32(128), .. U32(128), .. U32(0),
        .. U64((ulong)partitions.Length),
        .. partitions.SelectMany(static p => (byte[])
            [.. new byte[16], .. Disk.ToByteArray(), .. U64(p.First), .. U64(p.Last), .. U64(0), .. Encoding.Unicode.GetBytes(p.Name.PadRight(36, '\0'))]),
    ];

    /// <summary>TCG_PCClientTaggedEvent.</summary>
    public static byte[] Tagged(uint id, ReadOnlySpan<byte> data) => [.. U32(id), .. U32((uint)data.Length), .. data];

    public static byte[] StartupLocality(byte locality) => [.. "StartupLocality\0"u8, locality];

    /// <summary>TCG_Sp800_155_PlatformId_Event2.</summary>
    public static byte[] Sp800155Form2() =>
    [
        .. "SP800-155 Event2"u8, .. U32(11129), .. Owner.ToByteArray(), 6, .. "Maker\0"u8, 6, .. "Model\0"u8, 2, .. "1\0"u8, 3, .. "FM\0"u8, .. U32(11129), 4, .. "2.7\0"u8,
    ];
}
