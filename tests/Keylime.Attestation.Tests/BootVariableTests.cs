using Keylime.Testing;
using Keylime.Tpm;
using static Keylime.Attestation.BootEventTypes;

namespace Keylime.Attestation.Tests;

/// <summary>EFI variables in boot logs, and the signature lists in them.</summary>
public sealed class BootVariableTests
{
    private static readonly Guid Global = EfiGuids.GlobalVariable;
    private static readonly Guid Database = EfiGuids.ImageSecurityDatabase;
    private static readonly Guid Shim = EfiGuids.ShimLock;
    private static readonly byte[] Hash = [.. Enumerable.Range(1, 32).Select(static i => (byte)i)];

    public static TheoryData<string, uint, Guid, string, byte[], string> Rows => new()
    {
        { "on", VariableDriverConfig, Global, "SecureBoot", [1], "Flag { Enabled = True }" },
        { "off", VariableDriverConfig, Global, "SecureBoot", [0], "Flag { Enabled = False }" },
        { "not there", VariableDriverConfig, Global, "SecureBoot", [], "Flag { Enabled = False }" },
        { "neither on nor off", VariableDriverConfig, Global, "SecureBoot", [2], "malformed: SecureBoot: 1 bytes where one, 0 or 1, is expected at byte 0." },
        { "on and more", VariableDriverConfig, Global, "SecureBoot", [1, 0], "malformed: SecureBoot: 2 bytes where one, 0 or 1, is expected at byte 0." },
        { "another vendor's", VariableDriverConfig, Shim, "SecureBoot", [1], "Opaque { }" },
        { "another name", VariableDriverConfig, Global, "secureboot", [1], "Opaque { }" },
        { "audit mode", VariableDriverConfig, Global, "AuditMode", [0], "Flag { Enabled = False }" },
        { "a maker's", VariableDriverConfig, BootData.Owner, "LenovoConfig", [1, 2], "Opaque { }" },
        { "boot order", VariableBoot, Global, "BootOrder", [1, 0, 0, 0x10], "order 0001 1000" },
        { "boot order of the second form", VariableBoot2, Global, "BootOrder", [], "order" },
        { "boot order of half a number", VariableBoot, Global, "BootOrder", [1, 0, 0], "malformed: BootOrder: 3 bytes, which are no 16-bit numbers at byte 0." },
        { "boot option", VariableBoot, Global, "Boot000A", [.. BootData.LoadOption("debian", BootData.PciPath()), 9], "option True 'debian' PciRoot(0x0)/Pci(0x2,0x0) + 1" },
        { "boot option that is off", VariableBoot, Global, "Boot000a", BootData.LoadOption("", BootData.PciPath(), 0), "option False '' PciRoot(0x0)/Pci(0x2,0x0) + 0" },
        { "boot option of two paths", VariableBoot, Global, "Boot0000", BootData.LoadOption("x", [.. BootData.PciPath(), .. BootData.EndNode]), "option True 'x' PciRoot(0x0)/Pci(0x2,0x0);  + 0" },
        { "boot option without an end of its name", VariableBoot, Global, "Boot0000", [1, 0, 0, 0, 4, 0, 65, 0], "malformed: Boot0000: 2 bytes wanted, 0 left, at byte 8." },
        { "boot option whose path goes beyond it", VariableBoot, Global, "Boot0000", [1, 0, 0, 0, 255, 255, 0, 0], "malformed: Boot0000: 65535 bytes wanted, 0 left, at byte 8." },
        { "no boot option", VariableBoot, Global, "Boot00000", [1], "Opaque { }" },
        { "a certificate that was used", VariableAuthority, Database, "db", BootData.Signature("cert"u8), $"authority {BootData.Owner} 63657274" },
        { "one without its owner", VariableAuthority, Shim, "Shim", [0x30, 0x82, 0, 3, 0x30, 1, 2], "authority 00000000-0000-0000-0000-000000000000 30820003300102" },
        { "an owner alone", VariableAuthority, Database, "db", BootData.Signature([]), "malformed: db: an owner without signature data at byte 16." },
        { "less than an owner", VariableAuthority, Database, "db", [1, 2], "malformed: db: 16 bytes wanted, 2 left, at byte 0." },
        { "shim's revocations", VariableAuthority, Shim, "SbatLevel", "sbat,1,2024010900\nshim,4\n"u8.ToArray(), "text 'sbat,1,2024010900\nshim,4\n'" },
        { "shim's trust", VariableAuthority, Shim, "MokListTrusted", [1], "Flag { Enabled = True }" },
        { "machine owner's keys", VariableDriverConfig, Shim, "MokList", BootData.X509List("mok"u8), "lists X509:6d6f6b" },
        { "no keys", VariableDriverConfig, Database, "dbx", [], "lists" },
        { "certificate", VariableDriverConfig, Global, "PK", BootData.X509List("key"u8), "lists X509:6b6579" },
        { "two lists", VariableDriverConfig, Database, "db", [.. BootData.X509List("a"u8), .. BootData.List(EfiGuids.Sha256, BootData.Signature(Hash))], $"lists X509:61 Sha256:{Convert.ToHexStringLower(Hash)}" },
        { "a type that is not known, with a header", VariableDriverConfig, Database, "db", BootData.RawList(Guid.Empty, 28 + 3 + 17, 3, 17, [7, 7, 7, .. BootData.Signature("x"u8)]), "lists 00000000-0000-0000-0000-000000000000:78" },
    };

    [Theory]
    [MemberData(nameof(Rows))]
    public void Variables_are_read_as_name_vendor_and_type_want_it(string what, uint type, Guid vendor, string name, byte[] value, string expected)
    {
        var variable = Assert.IsType<BootEventData.EfiVariable>(Parse(type, BootData.Variable(vendor, name, value)));
        Assert.Equal((vendor, name), (variable.Vendor, variable.Name));
        Assert.Equal(value, variable.Value.ToArray());
        Assert.True(expected == Describe(variable.Content), $"{what}: {Describe(variable.Content)}");
    }

    /// <summary>Sizes that let bytes of one entry be read as another's.</summary>
    public static TheoryData<string, byte[], string> Lists => new()
    {
        { "no header of a list", new byte[27], "4 bytes wanted, 3 left, at byte 24." },
        { "a list smaller than its header", BootData.RawList(EfiGuids.Sha256, 27, 0, 48, BootData.Signature(Hash)), "a signature list of 27 bytes, 28 at least, at byte 0." },
        { "a list of no bytes", BootData.RawList(EfiGuids.Sha256, 0, 0, 48, BootData.Signature(Hash)), "a signature list of 0 bytes, 28 at least, at byte 0." },
        { "a list beyond the variable", BootData.RawList(EfiGuids.Sha256, 28 + 49, 0, 48, BootData.Signature(Hash)), "49 bytes wanted, 48 left, at byte 28." },
        { "a list whose size overflows", BootData.RawList(EfiGuids.Sha256, uint.MaxValue, 0, 48, BootData.Signature(Hash)), "4294967267 bytes wanted, 48 left, at byte 28." },
        { "a header of a known type", BootData.RawList(EfiGuids.Sha256, 28 + 48 + 48, 48, 48, [.. new byte[48], .. BootData.Signature(Hash)]), "a signature header of 48 bytes at byte 20." },
        { "a header beyond the list", BootData.RawList(Guid.Empty, 28 + 17, 18, 17, BootData.Signature("x"u8)), "a signature header of 18 bytes at byte 20." },
        { "a header whose size overflows", BootData.RawList(Guid.Empty, 28 + 17, uint.MaxValue, 17, BootData.Signature("x"u8)), "a signature header of 4294967295 bytes at byte 20." },
        { "signatures of no size", BootData.RawList(EfiGuids.X509, 28 + 17, 0, 0, BootData.Signature("x"u8)), "signatures of 0 bytes, 17 at least, at byte 24." },
        { "signatures of an owner alone", BootData.RawList(EfiGuids.X509, 28 + 16, 0, 16, BootData.Signature([])), "signatures of 16 bytes, 17 at least, at byte 24." },
        { "hashes of another size", BootData.RawList(EfiGuids.Sha256, 28 + 49, 0, 49, [.. BootData.Signature(Hash), 0]), "signatures of 49 bytes, 48 each, at byte 24." },
        { "signatures that do not fill the list", BootData.RawList(EfiGuids.Sha256, 28 + 50, 0, 48, [.. BootData.Signature(Hash), 0, 0]), "50 bytes of signatures of 48 bytes each at byte 28." },
        { "signatures larger than the list", BootData.RawList(EfiGuids.X509, 28 + 17, 0, 18, BootData.Signature("x"u8)), "17 bytes of signatures of 18 bytes each at byte 28." },
        { "a list without signatures", BootData.RawList(EfiGuids.X509, 28, 0, 17, []), "0 bytes of signatures of 17 bytes each at byte 28." },
        { "bytes behind the list", [.. BootData.X509List("x"u8), 0], "16 bytes wanted, 1 left, at byte 45." },
        { "the second list is wrong", [.. BootData.X509List("x"u8), .. BootData.RawList(EfiGuids.X509, 1, 0, 17, [])], "a signature list of 1 bytes, 28 at least, at byte 45." },
    };

    [Theory]
    [MemberData(nameof(Lists))]
    public void GHSA_9r4w_jg96_92mv_GO_2026_5298_signature_lists_whose_sizes_do_not_agree_are_malformed(string what, byte[] lists, string expected)
    {
        foreach (var (vendor, name) in ((Guid, string)[])[(Database, "db"), (Database, "dbx"), (Global, "PK"), (Global, "KEK"), (Shim, "MokListX")])
        {
            var variable = Assert.IsType<BootEventData.EfiVariable>(Parse(VariableDriverConfig, BootData.Variable(vendor, name, lists)));
            var malformed = Assert.IsType<EfiVariableContent.Malformed>(variable.Content);
            Assert.StartsWith($"{name}: ", malformed.Reason, StringComparison.Ordinal);
            Assert.True(malformed.Reason.Contains(expected, StringComparison.Ordinal), $"{what}: {malformed.Reason}");
        }
    }

    public static TheoryData<string, byte[], string> Frames => new()
    {
        { "nothing", [], "16 bytes wanted, 0 left, at byte 0." },
        { "a name that overflows", [.. new byte[16], .. BootData.U64(ulong.MaxValue), .. BootData.U64(0)], "a variable's name of 18446744073709551615 characters, 1024 at most, at byte 16." },
        { "a name that overflows when doubled", [.. new byte[16], .. BootData.U64(0x8000_0000_0000_0001), .. BootData.U64(0)], "a variable's name of 9223372036854775809 characters" },
        { "a name beyond the event", [.. new byte[16], .. BootData.U64(2), .. BootData.U64(0), 65, 0], "4 bytes wanted, 2 left, at byte 32." },
        { "a value that overflows", [.. new byte[16], .. BootData.U64(0), .. BootData.U64(ulong.MaxValue)], "18446744073709551615 bytes wanted, 0 left, at byte 32." },
        { "a tail", [.. BootData.Variable(Global, "SecureBoot", [1]), 0], "1 bytes left over at byte 53." },
        { "a NUL in the name", BootData.Variable(Global, "Secure\0Boot", [1]), "text that is no UTF-16" },
    };

    [Theory]
    [MemberData(nameof(Frames))]
    public void A_variable_whose_frame_is_wrong_is_malformed(string what, byte[] data, string expected)
    {
        var malformed = Assert.IsType<BootEventData.Malformed>(Parse(VariableDriverConfig, data));
        Assert.True(malformed.Reason.Contains(expected, StringComparison.Ordinal), $"{what}: {malformed.Reason}");
    }

    [Theory]
    [InlineData(8, true)]
    [InlineData(9, false)]
    public void An_authority_may_have_the_bytes_behind_it_that_old_shim_wrote(int slack, bool read)
    {
        byte[] data = [.. BootData.Variable(Shim, "Shim", BootData.Signature("cert"u8)), .. new byte[slack]];
        Assert.Equal(read, Parse(VariableAuthority, data) is BootEventData.EfiVariable);
    }

    private static BootEventData Parse(uint type, byte[] data)
    {
        Assert.True(BootLog.TryParse(new BootLogBuilder(TpmAlgorithm.Sha256).Add(7, type, data).Build(), out var log, out var error), error);
        return log.Events[1].UntrustedData;
    }

    private static string Describe(EfiVariableContent content) => content switch
    {
        EfiVariableContent.BootOrder one => $"order {string.Join(' ', one.Options.Select(static o => $"{o:x4}"))}".TrimEnd(),
        EfiVariableContent.BootOption one => $"option {one.IsActive} '{one.Description}' {string.Join("; ", one.Paths)} + {one.OptionalData.Length}",
        EfiVariableContent.Authority one => $"authority {one.Signature.Owner} {Convert.ToHexStringLower(one.Signature.Data.Span)}",
        EfiVariableContent.Text one => $"text '{one.Value}'",
        EfiVariableContent.SignatureDatabase one => string.Join(' ', ["lists", .. one.Lists.SelectMany(static l => l.Signatures.Select(s => $"{Name(l.Type)}:{Convert.ToHexStringLower(s.Data.Span)}"))]),
        EfiVariableContent.Malformed one => $"malformed: {one.Reason}",
        _ => content.ToString(),
    };

    private static string Name(Guid type) => type == EfiGuids.X509 ? "X509" : type == EfiGuids.Sha256 ? "Sha256" : type.ToString();
}
