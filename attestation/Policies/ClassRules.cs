using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>The class rules that there are: entries that no list of files can name, each with what its modes do.</summary>
internal static class ClassRules
{
    public const string BootAggregate = "boot_aggregate";
    public const string Memfd = "memfd";
    public const string DpkgTemporary = "dpkg-temporary";

    public const string Check = "check";
    public const string Allow = "allow";
    public const string Off = "off";

    public static ImmutableArray<string> Names { get; } = [BootAggregate, Memfd, DpkgTemporary];

    /// <summary>The modes that a rule may have; the first is what it has in a policy that does not mention it.</summary>
    /// <returns>None for a rule that there is not.</returns>
    public static ImmutableArray<string> ModesOf(string name) => name switch
    {
        BootAggregate => [Check, Allow, Off],
        Memfd or DpkgTemporary => [Off, Allow],
        _ => [],
    };

    public static ClassRule Describe(string name, ClassRuleText? text)
    {
        var mode = text?.Mode ?? ModesOf(name)[0];
        var meaning = (name, mode) switch
        {
            (BootAggregate, Check) => "The entry boot_aggregate is accepted if it is the hash of the quoted PCRs 0 to 9 (or 0 to 7), or if the policy lists its digest.",
            (BootAggregate, Allow) => "The entry boot_aggregate is accepted as the list's first line, whatever its digest.",
            (BootAggregate, _) => "The entry boot_aggregate is accepted only if the policy lists its digest.",
            (Memfd, Allow) => "Files that exist in memory alone (memfd_create) are accepted, whatever their content.",
            (Memfd, _) => "Files that exist in memory alone (memfd_create) are judged like others.",
            (DpkgTemporary, Allow) => "A file that dpkg has unpacked and not yet renamed (.dpkg-new, .dpkg-tmp) is judged by the digests that are listed for its final name.",
            _ => "Names that dpkg gives to files while it unpacks (.dpkg-new, .dpkg-tmp) are judged like others.",
        };
        return new ClassRule(name, mode, text?.Reason, meaning, text is null);
    }

    /// <summary>
    /// True for a file of memfd_create: it is on no mount that has a path, so the kernel measures it under the bare name (ima_main.c, ima_d_path).
    /// </summary>
    public static bool IsMemfd(ReadOnlySpan<byte> path) => path.StartsWith("memfd:"u8);

    public static bool TryStripDpkg(ReadOnlySpan<byte> path, out ReadOnlySpan<byte> final)
    {
        final = path.EndsWith(".dpkg-new"u8) || path.EndsWith(".dpkg-tmp"u8) ? path[..^".dpkg-new"u8.Length] : [];
        return !final.IsEmpty;
    }
}
