using System.Collections.Immutable;
using static Keylime.Attestation.BootEventData;

namespace Keylime.Attestation;

/// <summary>Reads the data of an event as its type wants them read.</summary>
internal static class BootDataReader
{
    private const int MaxTables = 1024;
    private const int MaxPartitions = 4096;
    private const int MaxTagged = 65_536;
    private const int GptHeaderSize = 92; // UEFI 2.10, 5.3.2
    private const int GptEntrySize = 128;
    private const ulong GptSignature = 0x5452415020494645; // "EFI PART"

    public static BootEventData Read(int pcr, uint type, ReadOnlyMemory<byte> data)
    {
        try
        {
            return type switch
            {
                BootEventTypes.NoAction => RemarkReader.Read(data),
                BootEventTypes.Separator => ReadSeparator(data),
                BootEventTypes.Action or BootEventTypes.EfiAction => new BootEventData.Action(BootText.ReadUtf8(data.Span)),
                BootEventTypes.EventTag => ReadTagged(data),
                BootEventTypes.CrtmVersion => ReadCrtmVersion(data),
                BootEventTypes.Ipl => IplReader.Read(pcr, data.Span),
                BootEventTypes.VariableDriverConfig or BootEventTypes.VariableBoot or BootEventTypes.VariableBoot2
                    or BootEventTypes.VariableAuthority or BootEventTypes.SpdmDevicePolicy or BootEventTypes.SpdmDeviceAuthority => EfiVariableReader.Read(type, data),
                BootEventTypes.BootServicesApplication or BootEventTypes.BootServicesDriver or BootEventTypes.RuntimeServicesDriver => ReadImage(data),
                BootEventTypes.Gpt or BootEventTypes.Gpt2 => ReadGpt(data),
                BootEventTypes.FirmwareBlob => ReadBlob(data),
                BootEventTypes.FirmwareBlob2 => ReadBlob2(data),
                BootEventTypes.HandoffTables => ReadTables(data),
                BootEventTypes.HandoffTables2 => ReadTables2(data),

                // Text in some firmware, the place of a blob in other (PFP 1.06, 10.4.1).
                BootEventTypes.PostCode or BootEventTypes.CrtmContents => TryReadLabel(data) ?? (data.Length == 2 * sizeof(ulong) ? ReadBlob(data) : TryReadBlob2(data)),
                BootEventTypes.PostCode2 => TryReadLabel(data) ?? TryReadBlob2(data),
                BootEventTypes.HcrtmEvent or BootEventTypes.OmitBootDeviceEvents => new Label(BootText.ReadUtf8(data.Span)),
                BootEventTypes.CpuMicrocode or BootEventTypes.PlatformConfigFlags or BootEventTypes.TableOfDevices or BootEventTypes.CompactHash
                    or BootEventTypes.NonhostCode or BootEventTypes.NonhostConfig or BootEventTypes.NonhostInfo => TryReadLabel(data) ?? (BootEventData)new Unknown(),
                _ => new Unknown(),
            };
        }
        catch (BootFormatException e)
        {
            return new Malformed(e.Message);
        }
    }

    private static Separator ReadSeparator(ReadOnlyMemory<byte> data)
    {
        var reader = new BootReader(data);
        var value = reader.ReadUInt32();
        reader.ExpectEnd();
        return new Separator(value);
    }

    private static Tagged ReadTagged(ReadOnlyMemory<byte> data)
    {
        var items = ImmutableArray.CreateBuilder<TaggedItem>();
        var reader = new BootReader(data);
        do
        {
            if (items.Count == MaxTagged)
                BootReader.Throw($"more than {MaxTagged} tagged items", reader.Position);
            var id = reader.ReadUInt32();
            var item = reader.ReadBytes(reader.ReadUInt32());
            items.Add(new TaggedItem(id, item));
        }
        while (!reader.AtEnd);

        return new Tagged(items.DrainToImmutable());
    }

    // PFP 1.06, 10.4.1: a version as UTF-16 text or as a GUID; text in ASCII and structures of the maker's own are met as well.
    private static BootEventData ReadCrtmVersion(ReadOnlyMemory<byte> data) =>
        BootText.TryReadPrintable(data.Span, out var text) ? new CrtmVersion(text)
        : data.Span is [0, 0] or [0] or [] ? new CrtmVersion("")
        : data.Length == 16 ? new CrtmVersion(new Guid(data.Span).ToString())
        : new Unknown();

    private static ImageLoad ReadImage(ReadOnlyMemory<byte> data)
    {
        var reader = new BootReader(data);
        var (address, length, linkTime) = (reader.ReadUInt64(), reader.ReadUInt64(), reader.ReadUInt64());
        var path = reader.ReadPart(reader.ReadUInt64());

        // Firmware and shim write eight or nine bytes more than they fill. Nothing in here is measured, so nothing hides in them.
        return new ImageLoad(address, length, linkTime, DevicePathReader.ReadWhole(ref path));
    }

    private static Gpt ReadGpt(ReadOnlyMemory<byte> data)
    {
        var reader = new BootReader(data);
        if (reader.ReadUInt64() != GptSignature)
            BootReader.Throw("a partition table that does not start with 'EFI PART'", 0);
        _ = reader.ReadUInt32(); // revision
        if (reader.ReadUInt32() is var header && header != GptHeaderSize)
            BootReader.Throw($"a partition table header of {header} bytes, not {GptHeaderSize},", 12);
        _ = reader.ReadBytes(sizeof(uint) + sizeof(uint) + 4 * sizeof(ulong)); // CRC, reserved, four LBAs
        var disk = reader.ReadGuid();
        _ = reader.ReadBytes(sizeof(ulong) + sizeof(uint)); // where the entries are, and how many there are with the empty ones
        var at = reader.Position;
        if (reader.ReadUInt32() is var entry && (entry < GptEntrySize || entry > 4096))
            BootReader.Throw($"partition entries of {entry} bytes, {GptEntrySize} at least,", at);
        _ = reader.ReadUInt32(); // CRC of the entries

        var count = reader.ReadCount(MaxPartitions, (int)entry, "partitions");
        var partitions = ImmutableArray.CreateBuilder<GptPartition>(count);
        for (var i = 0; i < count; i++)
        {
            var part = reader.ReadPart(entry);
            var (type, id, first, last, flags) = (part.ReadGuid(), part.ReadGuid(), part.ReadUInt64(), part.ReadUInt64(), part.ReadUInt64());
            partitions.Add(new GptPartition(type, id, first, last, flags, PartitionName(part.ReadBytes(72).Span)));
        }

        reader.ExpectEnd();
        return new Gpt(disk, partitions.MoveToImmutable());
    }

    // 36 units of UTF-16, filled up with NULs; what is behind the first NUL is not shown.
    private static string PartitionName(ReadOnlySpan<byte> bytes)
    {
        var end = 0;
        while (end < bytes.Length && (bytes[end] | bytes[end + 1]) != 0)
            end += 2;
        return BootText.ReadUtf16(bytes[..end]);
    }

    private static FirmwareBlob ReadBlob(ReadOnlyMemory<byte> data)
    {
        var reader = new BootReader(data);
        var (start, length) = (reader.ReadUInt64(), reader.ReadUInt64());
        reader.ExpectEnd();
        return new FirmwareBlob("", start, length);
    }

    private static FirmwareBlob ReadBlob2(ReadOnlyMemory<byte> data)
    {
        var reader = new BootReader(data);
        var description = Describe(reader.ReadShort());
        var (start, length) = (reader.ReadUInt64(), reader.ReadUInt64());
        reader.ExpectEnd();
        return new FirmwareBlob(description, start, length);
    }

    private static HandoffTables ReadTables(ReadOnlyMemory<byte> data)
    {
        var reader = new BootReader(data);
        return new HandoffTables("", ReadTableList(ref reader));
    }

    private static HandoffTables ReadTables2(ReadOnlyMemory<byte> data)
    {
        var reader = new BootReader(data);
        return new HandoffTables(Describe(reader.ReadShort()), ReadTableList(ref reader));
    }

    private static ImmutableArray<HandoffTable> ReadTableList(ref BootReader reader)
    {
        var count = reader.ReadCount(MaxTables, 16 + sizeof(ulong), "tables");
        var tables = ImmutableArray.CreateBuilder<HandoffTable>(count);
        for (var i = 0; i < count; i++)
            tables.Add(new HandoffTable(reader.ReadGuid(), reader.ReadUInt64()));
        reader.ExpectEnd();
        return tables.MoveToImmutable();
    }

    private static Label? TryReadLabel(ReadOnlyMemory<byte> data) =>
        BootText.TryReadPrintable(data.Span, out var text) ? new Label(text) : null;

    private static BootEventData TryReadBlob2(ReadOnlyMemory<byte> data) =>
        data.Span is [var size, ..] && data.Length == 1 + size + 2 * sizeof(ulong) ? ReadBlob2(data) : new Unknown();

    // A description is for people: one that is no text is shown as the GUID or the bytes that it is (firmware volumes have GUIDs here).
    private static string Describe(ReadOnlyMemory<byte> bytes) =>
        bytes.IsEmpty ? ""
        : BootText.TryReadPrintable(bytes.Span, out var text) ? text
        : bytes.Length == 16 ? new Guid(bytes.Span).ToString()
        : Convert.ToHexStringLower(bytes.Span);
}
