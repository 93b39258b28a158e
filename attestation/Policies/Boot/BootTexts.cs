using System.Text;
using static Keylime.Attestation.BootWords;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>Texts that a boot loader measured: its commands, and command lines of kernels.</summary>
internal static class BootTexts
{
    /// <summary>
    /// True for what has to be judged as a kernel's command line. Of GRUB's texts the words in front (<c>grub_cmd: </c>, <c>kernel_cmdline: </c>)
    /// are not measured, so whoever sends the log can swap them. But a command line of GRUB begins with the path of the kernel, absolute or with
    /// its device, and no command does: a text that begins so is judged as one, whatever it is called.
    /// </summary>
    public static bool IsCommandLine(in BootFact e, string text) =>
        text is ['/' or '(', ..] || e.UntrustedData is not BootEventData.Ipl { Kind: IplKind.GrubCommand };

    /// <summary>
    /// The load options that a kernel gets for a command line, whose UTF-16 form Linux's EFI stub measures into PCR 9 (efi_convert_cmdline): with a NUL
    /// where the loader counts it, and with BOOT_IMAGE= in front where the loader is GRUB.
    /// </summary>
    public static IEnumerable<string> LoadOptions(string text) => [text, $"{text}\0", $"BOOT_IMAGE={text}", $"BOOT_IMAGE={text}\0"];

    /// <returns><see langword="null"/> if the text of the event is proven and fits the pattern.</returns>
    public static BootMiss? Refuse(BootFact e, ReferenceKernel kernel)
    {
        if (e.ProvenText is not { } text)
            return BootMiss.At(BootCommandLineNotAllowed, e, $"the kernel's command line {Story(e)} is not what was measured", "a text that hashes to the digest", Story(e));
        return !text.Contains('\n', StringComparison.Ordinal) && kernel.CommandLine.Matches(Encoding.UTF8.GetBytes($"kernel_cmdline: {text}"))
            ? null
            : BootMiss.At(BootCommandLineNotAllowed, e, $"the kernel's command line '{Printable(text)}' does not match the policy's", Printable(kernel.CommandLineText), Printable(text));
    }
}
