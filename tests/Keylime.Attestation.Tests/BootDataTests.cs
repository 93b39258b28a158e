using Keylime.Testing;
using Keylime.Tpm;
using static Keylime.Attestation.BootEventTypes;

namespace Keylime.Attestation.Tests;

/// <summary>The data of each type of event, byte for byte as firmware and boot loaders write them.</summary>
public sealed class BootDataTests
{
    /// <summary>What it is, PCR, type, data, and what is read, in words.</summary>
    public static TheoryData<string, int, uint, byte[], string> Rows => new()
    {
        { "separator", 4, Separator, [0, 0, 0, 0], "separator 0x00000000, a delimiter" },
        { "the other separator", 4, Separator, [255, 255, 255, 255], "separator 0xffffffff, a delimiter" },
        { "separator after an error", 4, Separator, [1, 0, 0, 0], "separator 0x00000001" },
        { "Windows' separator", 12, Separator, "WBCL"u8.ToArray(), "separator 0x4c434257" },
        { "short separator", 4, Separator, [0, 0, 0], "malformed: 4 bytes wanted, 3 left, at byte 0." },
        { "long separator", 4, Separator, [0, 0, 0, 0, 0], "malformed: 1 bytes left over at byte 4." },
        { "empty separator", 4, Separator, [], "malformed: 4 bytes wanted, 0 left, at byte 0." },

        { "action", 5, EfiAction, "Exit Boot Services Invocation"u8.ToArray(), "action 'Exit Boot Services Invocation'" },
        { "action with a NUL", 5, EfiAction, "Exit\0"u8.ToArray(), "action 'Exit'" },
        { "action with a NUL inside", 5, EfiAction, "Exit\0Boot"u8.ToArray(), "malformed: text that is neither ASCII nor UTF-8 at byte 0." },
        { "action of the host platform", 4, BootEventTypes.Action, "Booting BCV"u8.ToArray(), "action 'Booting BCV'" },

        { "version in UTF-16", 0, CrtmVersion, BootData.Utf16("1.17"), "version '1.17'" },
        { "version in ASCII", 0, CrtmVersion, "PE1127K8\0"u8.ToArray(), "version 'PE1127K8'" },
        { "version as a GUID", 0, CrtmVersion, EfiGuids.X509.ToByteArray(), "version 'a5c059a1-94e4-4aa7-87b5-ab155c2bf072'" },
        { "no version", 0, CrtmVersion, [0, 0], "version ''" },
        { "version of the maker's own", 0, CrtmVersion, [1, 2, 3, 0, 0], "unknown" },

        { "blob", 0, FirmwareBlob, BootData.Blob(0x820000, 0xE0000), "blob '' 0x820000 0xe0000" },
        { "blob with a tail", 0, FirmwareBlob, [.. BootData.Blob(1, 2), 0], "malformed: 1 bytes left over at byte 16." },
        { "blob of the second form", 0, FirmwareBlob2, BootData.Blob2("POST CODE", 1, 2), "blob 'POST CODE' 0x1 0x2" },
        { "blob of the second form with a GUID", 0, FirmwareBlob2, [16, .. EfiGuids.X509.ToByteArray(), .. BootData.Blob(1, 2)], "blob 'a5c059a1-94e4-4aa7-87b5-ab155c2bf072' 0x1 0x2" },
        { "blob of the second form, description beyond it", 0, FirmwareBlob2, [200, .. BootData.Blob(1, 2)], "malformed: 200 bytes wanted, 16 left, at byte 1." },
        { "POST code as text", 0, PostCode, "ACPI DATA"u8.ToArray(), "label 'ACPI DATA'" },
        { "POST code as a blob", 0, PostCode, BootData.Blob(1, 2), "blob '' 0x1 0x2" },
        { "POST code of the second form", 0, PostCode2, BootData.Blob2("BIOS", 1, 2), "blob 'BIOS' 0x1 0x2" },
        { "CRTM contents", 0, CrtmContents, "Boot Guard Measured S-CRTM\0"u8.ToArray(), "label 'Boot Guard Measured S-CRTM'" },
        { "H-CRTM", 0, HcrtmEvent, "HCRTM"u8.ToArray(), "label 'HCRTM'" },
        { "microcode as text", 1, CpuMicrocode, "Load microcode revision 000000A1\0"u8.ToArray(), "label 'Load microcode revision 000000A1'" },
        { "microcode as bytes", 1, CpuMicrocode, [1, 0, 0, 0], "unknown" },
        { "configuration flags", 1, PlatformConfigFlags, "FeatureTME=0"u8.ToArray(), "label 'FeatureTME=0'" },
        { "table of devices", 1, TableOfDevices, [1, 0, 0, 0], "unknown" },
        { "compact hash", 6, CompactHash, "Dell Configuration Information 1\0"u8.ToArray(), "label 'Dell Configuration Information 1'" },
        { "boot devices left out", 4, OmitBootDeviceEvents, "BOOT ATTEMPTS OMITTED"u8.ToArray(), "label 'BOOT ATTEMPTS OMITTED'" },
        { "non-host information", 0, NonhostInfo, [0, 1, 2], "unknown" },
        { "SPDM firmware", 2, SpdmFirmwareBlob, "SPDM Device Sec\0"u8.ToArray(), "unknown" },
        { "a type of a maker", 2, 0x8401, [1], "unknown" },
        { "an unused one", 2, Unused, [], "unknown" },

        { "tables", 1, HandoffTables, BootData.Tables((EfiGuids.X509, 0x7F00)), "tables '' a5c059a1-94e4-4aa7-87b5-ab155c2bf072@0x7f00" },
        { "no tables", 1, HandoffTables, BootData.U64(0), "tables '' " },
        { "more tables than there are bytes", 1, HandoffTables, BootData.U64(2), "malformed: 2 tables of 24 bytes and 0 bytes left at byte 0." },
        { "a count of tables that overflows", 1, HandoffTables, BootData.U64(ulong.MaxValue), "malformed: 18446744073709551615 tables, 1024 at most, at byte 0." },
        { "tables of the second form", 1, HandoffTables2, [6, .. "SMBIOS"u8, .. BootData.Tables((EfiGuids.X509, 1))], "tables 'SMBIOS' a5c059a1-94e4-4aa7-87b5-ab155c2bf072@0x1" },

        { "partitions", 5, Gpt, BootData.Gpt(("EFI", 2048, 4095), ("root", 4096, 8191)), "disk 11111111-2222-3333-4444-555555555555 EFI 2048-4095 root 4096-8191" },
        { "no partitions", 5, Gpt2, BootData.Gpt(), "disk 11111111-2222-3333-4444-555555555555" },
        { "partitions that overflow", 5, Gpt, [.. BootData.Gpt()[..^8], .. BootData.U64(ulong.MaxValue)], "malformed: 18446744073709551615 partitions, 4096 at most, at byte 92." },
        { "more partitions than bytes", 5, Gpt, [.. BootData.Gpt()[..^8], .. BootData.U64(3)], "malformed: 3 partitions of 128 bytes and 0 bytes left at byte 92." },
        { "partition entries of no size", 5, Gpt, [.. BootData.Gpt()[..84], .. BootData.U32(0), .. BootData.Gpt()[88..]], "malformed: partition entries of 0 bytes, 128 at least, at byte 84." },
        { "a partition table of another kind", 5, Gpt, new byte[100], "malformed: a partition table that does not start with 'EFI PART' at byte 0." },

        { "program", 4, BootServicesApplication, BootData.Image(BootData.DiskPath(@"\EFI\debian\shimx64.efi")), @"image HD(1,GPT,11111111-2222-3333-4444-555555555555,0x800,0x800)/\EFI\debian\shimx64.efi" },
        { "program from memory", 4, BootServicesApplication, BootData.Image([]), "image " },
        { "program with more bytes than it fills, as shim writes it", 4, BootServicesApplication, [.. BootData.Image([]), 0, 0, 0, 0, 0, 0, 0, 0, 0xAF], "image " },
        { "driver", 2, BootServicesDriver, BootData.Image(BootData.PciPath()), "image PciRoot(0x0)/Pci(0x2,0x0)" },
        { "runtime driver", 2, RuntimeServicesDriver, BootData.Image([.. BootData.Node(4, 7, EfiGuids.X509.ToByteArray()), .. BootData.Node(4, 6, EfiGuids.Sha1.ToByteArray()), .. BootData.EndNode]), "image Fv(a5c059a1-94e4-4aa7-87b5-ab155c2bf072)/FvFile(826ca512-cf10-4ac9-b187-be01496631bd)" },
        { "a path beyond the event", 4, BootServicesApplication, [.. BootData.Image([])[..24], .. BootData.U64(ulong.MaxValue)], "malformed: 18446744073709551615 bytes wanted, 0 left, at byte 32." },
        { "a path without an end", 4, BootServicesApplication, BootData.Image(BootData.Node(1, 1, 0, 2)), "malformed: 1 bytes wanted, 0 left, at byte 38." },
        { "a node of no length", 4, BootServicesApplication, BootData.Image([1, 1, 0, 0, .. BootData.EndNode]), "malformed: a device path node of 0 bytes, 4 at least, at byte 32." },
        { "a node of its header's length less one", 4, BootServicesApplication, BootData.Image([1, 1, 3, 0, .. BootData.EndNode]), "malformed: a device path node of 3 bytes, 4 at least, at byte 32." },
        { "a node beyond the path", 4, BootServicesApplication, BootData.Image([1, 1, 255, 255, .. BootData.EndNode]), "malformed: 65531 bytes wanted, 4 left, at byte 36." },
        { "bytes behind the end", 4, BootServicesApplication, BootData.Image([.. BootData.EndNode, 1, 1]), "malformed: 2 bytes left over at byte 36." },
        { "an end with data", 4, BootServicesApplication, BootData.Image(BootData.Node(0x7F, 0xFF, 1)), "malformed: an end node with 1 bytes of data at byte 32." },

        { "GRUB's command", 8, Ipl, "grub_cmd: set root=hd0\0"u8.ToArray(), "GrubCommand 'set root=hd0'" },
        { "GRUB's command without a NUL", 8, Ipl, "grub_cmd: ls"u8.ToArray(), "GrubCommand 'ls'" },
        { "older GRUB's command", 8, Ipl, "grub_cmd ls\0"u8.ToArray(), "GrubCommand 'ls'" },
        { "kernel command line", 8, Ipl, "kernel_cmdline: /vmlinuz quiet\0"u8.ToArray(), "KernelCommandLine '/vmlinuz quiet'" },
        { "older kernel command line", 8, Ipl, "grub_kernel_cmdline /vmlinuz quiet\0"u8.ToArray(), "KernelCommandLine '/vmlinuz quiet'" },
        { "Multiboot module", 8, Ipl, "module_cmdline: /m a\0"u8.ToArray(), "ModuleCommandLine '/m a'" },
        { "a file", 9, Ipl, "(hd0,gpt2)/vmlinuz\0"u8.ToArray(), "Path '(hd0,gpt2)/vmlinuz'" },
        { "a file by its path", 9, Ipl, "/boot/grub/grub.cfg\0"u8.ToArray(), "Path '/boot/grub/grub.cfg'" },
        { "something else of GRUB", 9, Ipl, "grub_linuxefi Kernel\0"u8.ToArray(), "Other 'grub_linuxefi Kernel'" },
        { "a variable of shim", 14, Ipl, "MokListTrusted\0"u8.ToArray(), "MokVariable 'MokListTrusted'" },
        { "a section of a unified kernel", 11, Ipl, BootData.Utf16(".linux"), "UkiSection '.linux' UTF-16" },
        { "systemd's command line", 12, Ipl, BootData.Utf16("quiet root=/dev/vda2"), "Utf16CommandLine 'quiet root=/dev/vda2' UTF-16" },
        { "the same with half a NUL", 8, Ipl, BootData.Utf16("quiet")[..^1], "Utf16CommandLine 'quiet' UTF-16" },
        { "half a pair", 12, Ipl, [(byte)'a', 0, 0, 0xD8, 0, 0], "malformed: text that is no UTF-16 at byte 0." },
        { "neither", 8, Ipl, [0xC3, 0x28], "malformed: text that is neither ASCII nor UTF-8 at byte 0." },
        { "a NUL inside", 8, Ipl, "grub_cmd: ls\0; insmod evil\0"u8.ToArray(), "malformed: text that is neither ASCII nor UTF-8 at byte 0." },
        { "no text", 8, Ipl, [], "Other ''" },

        { "kernel's load options", 9, EventTag, BootData.Tagged(TaggedItem.LinuxLoadOptions, "LOADED_IMAGE::LoadOptions\0"u8), "tags 8f3b22ed:LOADED_IMAGE::LoadOptions" },
        { "several tags", 12, EventTag, [.. BootData.Tagged(1, [1]), .. BootData.Tagged(2, [])], "tags 00000001: 00000002:" },
        { "a tag beyond the event", 12, EventTag, [.. BootData.Tagged(1, [1])[..^1]], "malformed: 1 bytes wanted, 0 left, at byte 8." },
        { "a tag's size that overflows", 12, EventTag, [1, 0, 0, 0, 255, 255, 255, 255], "malformed: 4294967295 bytes wanted, 0 left, at byte 8." },
        { "half a tag", 12, EventTag, [1, 0, 0, 0, 0, 0, 0, 0, 9], "malformed: 4 bytes wanted, 1 left, at byte 8." },

        { "startup locality", 0, NoAction, BootData.StartupLocality(3), "locality 3" },
        { "a locality that there is not", 0, NoAction, BootData.StartupLocality(5), "malformed: locality 5, 4 at most, at byte 16." },
        { "a long locality", 0, NoAction, [.. BootData.StartupLocality(3), 0], "malformed: 1 bytes left over at byte 17." },
        { "SP 800-155, first form", -1, NoAction, [.. "SP800-155 Event\0"u8, .. BootData.U32(7), .. EfiGuids.X509.ToByteArray()], "SP 800-155, form 1, 7 a5c059a1-94e4-4aa7-87b5-ab155c2bf072 / " },
        { "SP 800-155, second form", 0, NoAction, BootData.Sp800155Form2(), "SP 800-155, form 2, 11129 77fa9abd-0359-4d32-bd60-28f4e78f784b Maker/FM 2.7" },
        { "SP 800-155, third form, filled up with zeros", 0, NoAction, [.. "SP800-155 Event3"u8, .. BootData.Sp800155Form2()[16..], .. BootData.U32(1), .. BootData.U32(3), .. "uri"u8, .. BootData.U32(0), .. BootData.U32(0), 0, 0, 0], "SP 800-155, form 3, 11129 77fa9abd-0359-4d32-bd60-28f4e78f784b Maker/FM 2.7 1:757269" },
        { "SP 800-155, a size that overflows", 0, NoAction, [.. "SP800-155 Event3"u8, .. BootData.Sp800155Form2()[16..], .. BootData.U32(1), .. BootData.U32(uint.MaxValue)], "malformed: 4294967295 bytes wanted, 0 left, at byte 74." },
        { "H-CRTM component", 0, NoAction, [.. "H-CRTM CompMeas\0"u8, 4, .. "CPU\0"u8, 1, 2, 0xAB, 0xCD], "component 'CPU' 1 abcd" },
        { "BIOS's Spec ID", 0, NoAction, [.. "Spec ID Event00\0"u8, 0, 0, 0, 0, 20, 1, 0, 0, 0], "spec 1.20, 0 banks" },
        { "UEFI's older Spec ID", 0, NoAction, [.. "Spec ID Event02\0"u8, 0, 0, 0, 0, 0, 2, 0, 2, 1, 9], "spec 2.0, 0 banks" },
        { "another remark", 0, NoAction, [.. "NvIndexInstance\0"u8, 1, 2], "remark 'NvIndexInstance'" },
        { "a remark of bytes", 0, NoAction, [.. new byte[15], 7], @"remark '\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07'" },
        { "a short remark", 0, NoAction, [1], "unknown" },
    };

    [Theory]
    [MemberData(nameof(Rows))]
    public void Data_are_read_as_their_type_wants_it(string what, int pcr, uint type, byte[] data, string expected)
    {
        var log = new BootLogBuilder(TpmAlgorithm.Sha256);
        log = type == NoAction ? log.Remark(pcr, data) : log.Add(pcr, type, data);
        Assert.True(BootLog.TryParse(log.Build(), out var parsed, out var error), error);
        Assert.True(expected == Describe(parsed.Events[1].UntrustedData), $"{what}: {Describe(parsed.Events[1].UntrustedData)}");
    }

    public static TheoryData<string, byte[], string> Nodes => new()
    {
        { "PCI root", BootData.Node(2, 1, [.. BootData.U32(0x0A0841D0), .. BootData.U32(1)]), "PcieRoot(0x1)" },
        { "another ACPI device", BootData.Node(2, 1, [.. BootData.U32(0x12345678), .. BootData.U32(0)]), "Acpi(0x12345678,0x0)" },
        { "SATA", BootData.Node(3, 18, 1, 0, 255, 255, 0, 0), "Sata(0x1,0xffff,0x0)" },
        { "NVMe", BootData.Node(3, 23, 1, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1), "NVMe(0x1,01-02-03-04-05-06-07-08)" },
        { "SCSI", BootData.Node(3, 2, 1, 0, 2, 0), "Scsi(0x1,0x2)" },
        { "USB", BootData.Node(3, 5, 1, 2), "USB(0x1,0x2)" },
        { "MAC", BootData.Node(3, 11, [0x52, 0x54, 0, 1, 2, 3, .. new byte[26], 1]), "MAC(525400010203,0x1)" },
        { "IPv4", BootData.Node(3, 12, [0, 0, 0, 0, 10, 0, 0, 1, .. new byte[11]]), "IPv4(10.0.0.1)" },
        { "IPv6", BootData.Node(3, 13, [.. new byte[16], .. new byte[15], 1]), "IPv6(00000000000000000000000000000001)" },
        { "URI", BootData.Node(3, 24, "http://boot/x.efi"u8.ToArray()), "Uri(http://boot/x.efi)" },
        { "URI of no text", BootData.Node(3, 24, 0xFF), "Path(3,24,ff)" },
        { "MBR partition", BootData.Node(4, 1, [.. BootData.U32(1), .. BootData.U64(1), .. BootData.U64(2), 1, 2, 3, 4, .. new byte[12], 1, 1]), "HD(1,MBR,0x04030201,0x1,0x2)" },
        { "CD", BootData.Node(4, 2, [.. BootData.U32(1), .. BootData.U64(2), .. BootData.U64(3)]), "CDROM(0x1,0x2,0x3)" },
        { "vendor's", BootData.Node(1, 4, [.. EfiGuids.X509.ToByteArray(), 9]), "VenHw(a5c059a1-94e4-4aa7-87b5-ab155c2bf072,09)" },
        { "memory", BootData.Node(1, 3, [.. BootData.U32(11), .. BootData.U64(1), .. BootData.U64(2)]), "MemoryMapped(0xb,0x1,0x2)" },
        { "BIOS's", BootData.Node(5, 1, [2, 0, 0, 0, .. "disk\0"u8]), "BBS(0x2,disk)" },
        { "shorter than its kind", BootData.Node(1, 1, 2), "Path(1,1,02)" },
        { "of no kind that is known", BootData.Node(9, 9), "Path(9,9)" },
        { "two paths in one", [.. BootData.Node(1, 1, 0, 1), .. BootData.Node(0x7F, 1), .. BootData.Node(1, 1, 0, 2)], "Pci(0x1,0x0)/,/Pci(0x2,0x0)" },
    };

    [Theory]
    [MemberData(nameof(Nodes))]
    public void Device_paths_are_shown_in_UEFIs_words(string what, byte[] node, string expected)
    {
        var data = BootData.Image([.. node, .. BootData.EndNode]);
        Assert.True(BootLog.TryParse(new BootLogBuilder().Add(4, BootServicesApplication, data).Build(), out var log, out var error), error);
        Assert.True(expected == Assert.IsType<BootEventData.ImageLoad>(log.Events[0].UntrustedData).Path.ToString(), what);
    }

    [Fact]
    public void By_go_tpm_tools_506_tags_inside_tags_are_not_descended_into()
    {
        byte[] nest = [.. Enumerable.Range(0, 100_000).SelectMany(static depth => (byte[])[.. BootData.U32(0x4001_0001), .. BootData.U32((uint)(8 * (99_999 - depth)))])];
        Assert.True(BootLog.TryParse(new BootLogBuilder(TpmAlgorithm.Sha256).Add(12, EventTag, nest).Build(), out var log, out var error), error);
        Assert.Equal(nest.Length - 8, Assert.Single(Assert.IsType<BootEventData.Tagged>(log.Events[1].UntrustedData).Items).Data.Length);
    }

    [Fact]
    public void Every_type_of_the_profile_has_its_name()
    {
        Assert.Equal("EV_EFI_VARIABLE_AUTHORITY", NameOf(VariableAuthority));
        Assert.Equal("EV_EFI_GPT_EVENT2", NameOf(0x8000000D));
        Assert.Equal("0x00008401", NameOf(0x8401));
        uint[] types = [.. Enumerable.Range(0, 0x14).Select(static t => (uint)t), .. Enumerable.Range(1, 0xD).Select(static t => 0x8000_0000 + (uint)t), 0x8000_0010, .. Enumerable.Range(0xE0, 5).Select(static t => 0x8000_0000 + (uint)t)];
        Assert.All(types, static type => Assert.StartsWith("EV_", NameOf(type), StringComparison.Ordinal));
        Assert.Equal(types.Length, types.Select(NameOf).Distinct().Count());
    }

    private static string Describe(BootEventData data) => data switch
    {
        BootEventData.Separator one => $"separator 0x{one.Value:x8}{(one.IsDelimiter ? ", a delimiter" : "")}",
        BootEventData.Action one => $"action '{one.Text}'",
        BootEventData.CrtmVersion one => $"version '{one.Version}'",
        BootEventData.FirmwareBlob one => $"blob '{one.Description}' 0x{one.Base:x} 0x{one.Length:x}",
        BootEventData.Label one => $"label '{one.Text}'",
        BootEventData.HandoffTables one => $"tables '{one.Description}' {string.Join(' ', one.Tables.Select(static t => $"{t.Vendor}@0x{t.Address:x}"))}",
        BootEventData.Gpt one => $"disk {one.Disk} {string.Join(' ', one.Partitions.Select(static p => $"{p.Name} {p.FirstBlock}-{p.LastBlock}"))}".TrimEnd(),
        BootEventData.ImageLoad one => $"image {one.Path}",
        BootEventData.Ipl one => $"{one.Kind} '{one.Text}'{(one.IsUtf16 ? " UTF-16" : "")}",
        BootEventData.Tagged one => $"tags {string.Join(' ', one.Items.Select(static i => $"{i.Id:x8}:{i.Text}"))}",
        BootEventData.StartupLocality one => $"locality {one.Locality}",
        BootEventData.Sp800155 one => $"SP 800-155, form {one.Form}, {one.VendorId} {one.ReferenceManifest} {one.PlatformManufacturer}/{one.FirmwareManufacturer} {one.FirmwareVersion}{(one.Form > 2 ? $" {one.LocatorType}:{Convert.ToHexStringLower(one.Locator.Span)}" : "")}",
        BootEventData.HcrtmComponent one => $"component '{one.Description}' {one.MeasurementType} {Convert.ToHexStringLower(one.Measurement.Span)}",
        BootEventData.SpecId one => $"spec {one.Major}.{one.Minor}, {one.Banks.Length} banks",
        BootEventData.Remark one => $"remark '{one.Signature}'",
        BootEventData.Malformed one => $"malformed: {one.Reason}",
        BootEventData.Unknown => "unknown",
        _ => data.ToString(),
    };
}
