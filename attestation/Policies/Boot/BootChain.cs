using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>What is started behind the firmware, from the first program to the kernel: one alternative of a policy.</summary>
internal sealed record BootChain
{
    public required string Name { get; init; }

    /// <summary>Programs in PCR 4 behind its separator, in order.</summary>
    public ImmutableArray<ImageStep> Images { get; init; } = [];

    /// <summary>PCR 9: GRUB's EV_IPL, or the LOAD_FILE2 measurement of Linux's EFI stub.</summary>
    public BootDigestSet Initrd { get; init; } = new();

    /// <summary>PCR 9: the kernel as GRUB read it.</summary>
    public BootDigestSet KernelFile { get; init; } = new();

    /// <summary>PCR 8 (GRUB), PCR 12 (systemd-stub), PCR 9 (Linux's EFI stub).</summary>
    public TextRule? CommandLine { get; init; }

    /// <summary>PCR 11: sections of a unified kernel image, by name.</summary>
    public ImmutableSortedDictionary<string, BootDigestSet> Sections { get; init; } = ImmutableSortedDictionary<string, BootDigestSet>.Empty;

    /// <summary>What a policy without alternatives allows.</summary>
    public static BootChain Nothing { get; } = new() { Name = "none" };
}

/// <summary>One program of a chain, by its Authenticode digests.</summary>
/// <param name="Role">What it is, for people.</param>
/// <param name="Most">How often in a row it may be measured: some GRUBs have the kernel measured twice.</param>
internal sealed record ImageStep(string Role, BootDigestSet Digests, bool Required, int Most)
{
    public static readonly ImmutableArray<string> Roles = ["shim", "boot-loader", "unified-kernel", "kernel", "application"];

    public string Words => Role.Replace('-', ' ');
}
