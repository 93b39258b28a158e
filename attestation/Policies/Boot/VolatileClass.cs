using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>A class of events that differ from boot to boot on good machines, and that a policy may allow by this name.</summary>
/// <remarks>
/// Where <see cref="IsProven"/>, the digest proves that the event is of the class. Elsewhere only the log's words say so, words that nobody measures:
/// such a class lets in any digest in its PCR, as often as its limit says. The limit is what keeps anything else out.
/// </remarks>
internal sealed record VolatileClass(string Name, int Pcr, string About, bool IsProven, int Most, Func<BootFact, bool> Has)
{
    /// <summary>The most that a policy may ask for.</summary>
    public const int Limit = 1000;

    public static readonly ImmutableArray<VolatileClass> All =
    [
        new("boot-order", 1, "the order of boot options", true, 4, static e => IsBootVariable(e, static v => v.Name is "BootOrder")),
        new("boot-entries", 1, "boot options", true, 64, static e => IsBootVariable(e, static v => IsOption(v.Name))),
        new("network-boot-entries", 1, "boot options of network cards, with their MAC addresses", true, 16, static e => IsBootVariable(e, static v => IsOption(v.Name) && IsNetwork(v))),
        new("configuration-variables", 1, "settings of the firmware", true, 64, static e => e.ProvenVariable is { } v && !IsBootName(v.Name)),
        new("firmware-setup", 1, "a visit to the firmware's setup", true, 1, static _ => false), // an action: judged with the landmarks
        new("handoff-tables", 1, "tables that the firmware hands over (SMBIOS, ACPI)", false, 8, static e => e.UntrustedType is BootEventTypes.HandoffTables or BootEventTypes.HandoffTables2),
        new("platform-configuration", 1, "configuration flags, such as QEMU's ACPI data", false, 8, static e => e.UntrustedType is BootEventTypes.PlatformConfigFlags or BootEventTypes.TableOfDevices),
        new("cpu-microcode", 1, "microcode of the processor", false, 8, static e => e.UntrustedType is BootEventTypes.CpuMicrocode),
        new("option-roms", 2, "drivers on cards", false, 64, static e => e.UntrustedType is BootEventTypes.BootServicesDriver or BootEventTypes.RuntimeServicesDriver),
        new("boot-attempts", 4, "boot options that were tried and returned", true, 16, static _ => false), // an action: judged with the landmarks
        new("partition-table", 5, "the disk's partitions and GUIDs", true, 2, static e => e.Measured == MeasuredPart.Whole && e.UntrustedData is BootEventData.Gpt),
        new("loader-commands", 8, "commands of the boot loader, but not the kernel's command line", true, Limit, static e => e.ProvenText is { } text && !BootTexts.IsCommandLine(e, text)),
        new("grub-environment", 9, "GRUB's environment block, which it writes itself", false, 1, static e => FileName(e).EndsWith("/grubenv", StringComparison.Ordinal)),
        new("boot-loader-entries", 9, "entries of the boot loader specification", false, 1, static e => FileName(e).Contains("/loader/entries/", StringComparison.Ordinal)),
        new("grub-files", 9, "configuration and modules of GRUB", false, 1, static e => FileName(e).Contains("/grub", StringComparison.Ordinal)),
    ];

    public static VolatileClass? Find(string name) => All.FirstOrDefault(c => c.Name == name);

    // EDK II measured only the value before the profile's revision 1.05, so the name may be the log's word alone. What PCR 1 holds is configuration;
    // which program it leads to is in PCR 4.
    private static bool IsBootVariable(in BootFact e, Func<BootEventData.EfiVariable, bool> has) =>
        e.Measured is MeasuredPart.Whole or MeasuredPart.VariableValue && e.UntrustedData is BootEventData.EfiVariable variable && variable.Vendor == EfiGuids.GlobalVariable && has(variable);

    private static bool IsBootName(string name) => name is "BootOrder" || IsOption(name);

    private static bool IsOption(string name) => name is ['B', 'o', 'o', 't', _, _, _, _] && name.Skip(4).All(char.IsAsciiHexDigit);

    private static bool IsNetwork(BootEventData.EfiVariable variable) =>
        variable.Content is EfiVariableContent.BootOption option && option.Paths.Any(static path => path.IsNetwork);

    private static string FileName(in BootFact e) => e.UntrustedData is BootEventData.Ipl { Kind: IplKind.Path } ipl ? ipl.Text : "";
}
