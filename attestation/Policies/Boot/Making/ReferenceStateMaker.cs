using System.Text.Json;

namespace Keylime.Attestation;

/// <summary>Makes a reference state: firmware and kernels of each boot, the keys of all, and of dbx what all of them have.</summary>
internal sealed class ReferenceStateMaker
{
    private readonly List<string> _reasons = [];

    public BootPolicyDraft Make(IReadOnlyList<IReadOnlyList<BootFact>> boots)
    {
        var secure = boots.Select(static b => IsSecure(b)).Distinct().ToArray();
        if (secure is not [var secureBoot])
            return new BootPolicyDraft.Refused(["Some of the boots have Secure Boot on and some off: that takes two policies."]);

        Kernel?[] kernels = [.. boots.Select((b, i) => FindKernel(b, i + 1, secureBoot))];
        var firmware = boots.Select(FindFirmware).Distinct().ToArray();
        foreach (var (i, _) in firmware.Index().Where(static f => f.Item.Version.Length == 0))
            _reasons.Add($"Boot {i + 1}: PCR 0 has no EV_S_CRTM_VERSION.");
        if (_reasons.Count > 0)
            return new BootPolicyDraft.Refused([.. _reasons]);

        return PolicyText.Finish(
            json =>
            {
                json.WriteBoolean("has_secureboot", secureBoot);
                WriteFirmware(json, firmware);
                foreach (var (member, name) in (ReadOnlySpan<(string, string)>)[("pk", "PK"), ("kek", "KEK"), ("db", "db"), ("dbx", "dbx")])
                    WriteKeys(json, member, [.. boots.Select(b => FindKeys(b, name))], all: name == "dbx");
                WriteKeys(json, "vendor_db", [.. boots.Select(FindVendor)], all: false);
                WriteDigests(json, "mokdig", boots.SelectMany(b => FindMok(b, "MokList")));
                WriteDigests(json, "mokxdig", boots.SelectMany(b => FindMok(b, "MokListX")));
                WriteKernels(json, kernels.OfType<Kernel>().Distinct(), secureBoot);
            },
            []);
    }

    private static bool IsSecure(IReadOnlyList<BootFact> boot) =>
        boot.Any(static e => e is { Pcr: 7, UntrustedData: BootEventData.EfiVariable { Name: "SecureBoot", Value.Span: [1] } });

    private static (string Version, string Blobs) FindFirmware(IReadOnlyList<BootFact> boot) =>
        (boot.Where(static e => e is { Pcr: 0, UntrustedType: BootEventTypes.CrtmVersion }).Select(Hex).FirstOrDefault() ?? "",
            string.Join(' ', boot.Where(static e => e is { Pcr: 0, UntrustedType: BootEventTypes.FirmwareBlob or BootEventTypes.FirmwareBlob2 }).Select(Hex)));

    private Kernel? FindKernel(IReadOnlyList<BootFact> boot, int number, bool secureBoot)
    {
        string[] programs = [.. boot.Where(static e => e is { Pcr: 4, UntrustedType: BootEventTypes.BootServicesApplication }).Select(Hex)];
        var files = boot.Where(static e => e is { Pcr: 9, UntrustedType: BootEventTypes.Ipl, UntrustedData: BootEventData.Ipl }).ToArray();
        var kernel = files.Where(static e => Name(e).Contains("/vmlinuz", StringComparison.Ordinal)).Select(Hex).FirstOrDefault();
        var initrd = files.Where(static e => Name(e).Contains("/initrd", StringComparison.Ordinal) || Name(e).Contains("/initramfs", StringComparison.Ordinal)).Select(Hex).FirstOrDefault();
        var line = boot.Where(static e => e is { Pcr: 8, UntrustedData: BootEventData.Ipl { Kind: IplKind.KernelCommandLine } }).Select(Name).FirstOrDefault();
        var expected = secureBoot ? "shim, GRUB and a kernel" : "shim and GRUB";
        if (secureBoot ? programs.Length is not (3 or 4) : programs.Length != 2)
            _reasons.Add($"Boot {number}: PCR 4 has {programs.Length} programs; a reference state has room for {expected}.");
        else if (kernel is null || initrd is null || line is null)
            _reasons.Add($"Boot {number}: a reference state wants what GRUB measures: a kernel and an initrd in PCR 9 by these names, and a command line in PCR 8; {(kernel is null ? "the kernel" : initrd is null ? "the initrd" : "the command line")} is missing.");
        else
            return new Kernel(programs[0], programs[1], secureBoot ? programs[2] : kernel, initrd, Escape(line));
        return null;
    }

    private static List<(Guid Owner, string Data)> FindKeys(IReadOnlyList<BootFact> boot, string name) =>
    [
        .. boot.Where(e => e is { Pcr: 7, UntrustedType: BootEventTypes.VariableDriverConfig } && e.UntrustedData is BootEventData.EfiVariable v && v.Name == name)
            .SelectMany(static e => BootDatabases.Read((BootEventData.EfiVariable)e.UntrustedData, out _)?.Signatures ?? [])
            .Select(static s => (s.Owner, Convert.ToHexStringLower(s.Data.Span))),
    ];

    private static List<(Guid Owner, string Data)> FindVendor(IReadOnlyList<BootFact> boot) =>
    [
        .. boot.Where(static e => e is { Pcr: 7, UntrustedType: BootEventTypes.VariableAuthority, UntrustedData: BootEventData.EfiVariable { Name: "vendor_db" } })
            .Select(static e => BootDatabases.ReadAuthority((BootEventData.EfiVariable)e.UntrustedData)).OfType<EfiSignature>()
            .Select(static s => (s.Owner, Convert.ToHexStringLower(s.Data.Span))),
    ];

    private static IEnumerable<string> FindMok(IReadOnlyList<BootFact> boot, string name) => boot.Where(e => e.Pcr == 14 && Name(e) == name).Select(Hex);

    private static void WriteFirmware(Utf8JsonWriter json, IEnumerable<(string Version, string Blobs)> firmware)
    {
        json.WriteStartArray("scrtm_and_bios");
        foreach (var (version, blobs) in firmware)
        {
            json.WriteStartObject();
            json.WriteStartObject("scrtm");
            json.WriteString("sha256", $"0x{version}");
            json.WriteEndObject();
            WriteDigests(json, "platform_firmware", blobs.Split(' ', StringSplitOptions.RemoveEmptyEntries), distinct: false);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteKeys(Utf8JsonWriter json, string member, List<(Guid Owner, string Data)>[] boots, bool all)
    {
        json.WriteStartArray(member);
        var keys = boots.Aggregate((IEnumerable<(Guid Owner, string Data)>)boots[0], (a, b) => all ? a.Intersect(b) : a.Union(b));
        foreach (var (owner, data) in keys)
        {
            json.WriteStartObject();
            json.WriteString("SignatureOwner", owner.ToString());
            json.WriteString("SignatureData", $"0x{data}");
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteDigests(Utf8JsonWriter json, string member, IEnumerable<string> digests, bool distinct = true)
    {
        json.WriteStartArray(member);
        foreach (var digest in distinct ? digests.Distinct() : digests)
        {
            json.WriteStartObject();
            json.WriteString("sha256", $"0x{digest}");
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteKernels(Utf8JsonWriter json, IEnumerable<Kernel> kernels, bool secureBoot)
    {
        json.WriteStartArray("kernels");
        foreach (var kernel in kernels)
        {
            json.WriteStartObject();
            json.WriteString("shim_authcode_sha256", $"0x{kernel.Shim}");
            json.WriteString("grub_authcode_sha256", $"0x{kernel.Loader}");
            json.WriteString(secureBoot ? "kernel_authcode_sha256" : "vmlinuz_plain_sha256", $"0x{kernel.Digest}");
            json.WriteString("initrd_plain_sha256", $"0x{kernel.Initrd}");
            json.WriteString("kernel_cmdline", kernel.CommandLine);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static string Escape(string text) =>
        string.Concat(text.Select(static c => @"\.^$*+?{}[]()|".Contains(c, StringComparison.Ordinal) ? $@"\{c}" : $"{c}"));

    private static string Name(BootFact e) => e.UntrustedData is BootEventData.Ipl ipl ? ipl.Text : "";

    private static string Hex(BootFact e) => Convert.ToHexStringLower(e.Digest.Span);

    private sealed record Kernel(string Shim, string Loader, string Digest, string Initrd, string CommandLine);
}
