namespace Keylime.Attestation;

/// <summary>What the data of an EV_IPL look like. They look as their writer likes: of no kind is the prefix measured.</summary>
public enum IplKind
{
    /// <summary>Text of no form that is known.</summary>
    Other,

    /// <summary>GRUB, PCR 8: a command that was run, <c>grub_cmd: …</c>.</summary>
    GrubCommand,

    /// <summary>GRUB, PCR 8: <c>kernel_cmdline: …</c>, the kernel's path and its command line.</summary>
    KernelCommandLine,

    /// <summary>GRUB, PCR 8: <c>module_cmdline: …</c>, of a Multiboot module.</summary>
    ModuleCommandLine,

    /// <summary>GRUB, PCR 9, and others: the path of a file whose contents were measured.</summary>
    Path,

    /// <summary>shim, PCR 14: <c>MokList</c>, <c>MokListX</c>, <c>MokListTrusted</c>: a variable whose value was measured.</summary>
    MokVariable,

    /// <summary>systemd-stub, PCR 11: the name of a section of a unified kernel image, <c>.linux</c>; measured is the name, and in the next event the section.</summary>
    UkiSection,

    /// <summary>systemd-boot, systemd-stub, PCRs 12 and 8: a command line in UTF-16, which is what was measured.</summary>
    Utf16CommandLine,
}
