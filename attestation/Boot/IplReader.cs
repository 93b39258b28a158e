using static Keylime.Attestation.BootEventData;

namespace Keylime.Attestation;

/// <summary>The data of an EV_IPL: what shim, GRUB, systemd-boot and systemd-stub write there.</summary>
internal static class IplReader
{
    private const int KernelBootPcr = 11; // systemd: what is in a unified kernel image

    // GRUB's own wording (grub-core/commands/efi/tpm.c, grub-core/kern/verifiers.c) has a colon; older distributions' GRUB left it out.
    private static readonly (string Prefix, IplKind Kind)[] Prefixes =
    [
        ("grub_cmd: ", IplKind.GrubCommand),
        ("kernel_cmdline: ", IplKind.KernelCommandLine),
        ("grub_kernel_cmdline ", IplKind.KernelCommandLine),
        ("grub_cmd ", IplKind.GrubCommand),
        ("module_cmdline: ", IplKind.ModuleCommandLine),
    ];

    public static BootEventData Read(int pcr, ReadOnlySpan<byte> data)
    {
        if (BootText.LooksLikeUtf16(data))
        {
            var wide = BootText.ReadUtf16(data);
            return new Ipl(pcr == KernelBootPcr && wide.StartsWith('.') ? IplKind.UkiSection : IplKind.Utf16CommandLine, wide) { IsUtf16 = true };
        }

        var text = BootText.ReadUtf8(data);
        foreach (var (prefix, kind) in Prefixes)
        {
            if (text.StartsWith(prefix, StringComparison.Ordinal))
                return new Ipl(kind, text[prefix.Length..]) { PrefixLength = prefix.Length };
        }

        return new Ipl(
            text.StartsWith('(') || text.StartsWith('/') || text.StartsWith('\\') ? IplKind.Path
            : text.StartsWith("Mok", StringComparison.Ordinal) ? IplKind.MokVariable
            : IplKind.Other, text);
    }
}
