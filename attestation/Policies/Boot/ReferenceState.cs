using System.Collections.Immutable;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>Keylime's measured-boot reference state (keylime/mba/elchecking/example.py), read and checked.</summary>
/// <remarks>
/// The rules are those of upstream's <c>example</c> policy, and accept and refuse the same logs but for what docs/differences.md lists. All of
/// those refuse what upstream lets pass, or pass over what no quote proves.
/// </remarks>
internal sealed record ReferenceState : IBootRules
{
    public static readonly PcrSet Relevant = PcrSet.Of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14);

    public required bool SecureBoot { get; init; }

    public required ImmutableArray<ReferenceFirmware> Firmware { get; init; }

    public required ImmutableArray<ReferenceKernel> Kernels { get; init; }

    /// <summary>Entries as <see cref="Entry"/> writes them; of a database that may have anything, none.</summary>
    public required ImmutableHashSet<string> PlatformKeys { get; init; }

    public required ImmutableHashSet<string> ExchangeKeys { get; init; }

    public required ImmutableHashSet<string> Allowed { get; init; }

    public required ImmutableHashSet<string> Forbidden { get; init; }

    public required ImmutableHashSet<string> Vendor { get; init; }

    public required BootDigestSet Mok { get; init; }

    public required BootDigestSet MokX { get; init; }

    public required ImmutableArray<string> Warnings { get; init; }

    public BootPolicyFormat Format => BootPolicyFormat.ReferenceState;

    public PcrSet Pcrs => Relevant;

    public IEnumerable<BootPolicyLine> Lines =>
    [
        new("Secure Boot", "setting", [SecureBoot ? "on" : "off"]),
        new("firmware version", "digest", [.. Firmware.SelectMany(static f => f.Version.Texts).Distinct()]),
        new("firmware blobs", "digest", [.. Firmware.SelectMany(static f => f.Blobs).SelectMany(static b => b.Texts).Distinct()]),
        new("PK", "entry", PlatformKeys),
        new("KEK", "entry", ExchangeKeys),
        new("db", "entry", Allowed),
        new("dbx", "entry", Forbidden),
        new("vendor_db", "entry", Vendor),
        new("MokList", "digest", Mok.Texts),
        new("MokListX", "digest", MokX.Texts),
        new("shim", "digest", [.. Kernels.Select(static k => $"sha256:{k.Shim}").Distinct()]),
        new("boot loader", "digest", [.. Kernels.Select(static k => $"sha256:{k.Loader}").Distinct()]),
        new("kernel", "digest", [.. Kernels.Select(static k => $"sha256:{k.Kernel}").Distinct()]),
        new("initrd", "digest", [.. Kernels.Select(static k => $"sha256:{k.Initrd}").Distinct()]),
        new("command line", "pattern", [.. Kernels.Select(static k => k.CommandLineText).Distinct()]),
    ];

    public void Judge(IReadOnlyList<BootFact> events, TpmAlgorithm bank, BootFindings findings) => new ReferenceStateJudge(this, bank, findings).Judge(events);

    /// <summary>
    /// An entry of a database, with its owner. Old versions of tpm2-tools (before 5.2) wrote GUIDs with their bytes in another order, and
    /// reference states were made with them; the owner decides nothing about what may boot, so both orders are one here.
    /// </summary>
    public static string Entry(Guid owner, ReadOnlySpan<byte> data)
    {
        var swapped = new Guid(owner.ToByteArray(), bigEndian: true);
        var one = owner.CompareTo(swapped) <= 0 ? owner : swapped;
        return $"{one}:{Convert.ToHexStringLower(data)}";
    }
}

/// <summary>A version of the firmware: EV_S_CRTM_VERSION, and what it is made of, in order.</summary>
internal sealed record ReferenceFirmware(BootDigestSet Version, ImmutableArray<BootDigestSet> Blobs);

/// <summary>A kernel, and all that starts it. Digests are SHA-256, in hex.</summary>
/// <param name="Kernel">With Secure Boot its Authenticode digest (PCR 4), without it the file's (PCR 9).</param>
internal sealed record ReferenceKernel(string Shim, string Loader, string Kernel, string Initrd, PatternList CommandLine, string CommandLineText);
