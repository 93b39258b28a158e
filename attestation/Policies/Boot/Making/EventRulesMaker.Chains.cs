using System.Security.Cryptography;
using System.Text;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <content>What is started behind the firmware.</content>
internal sealed partial class EventRulesMaker
{
    private sealed record Step(string Role, string Digest, int Times);

    private sealed record Chain(
        string Name, IReadOnlyList<Step> Images, IReadOnlyList<string> Initrd, IReadOnlyList<string> KernelFile, IReadOnlyList<string> Texts, IReadOnlyList<string> LineDigests,
        IReadOnlyList<(string Name, string Digest)> Sections)
    {
        public bool IsEmpty => Images.Count + Initrd.Count + KernelFile.Count + Texts.Count + LineDigests.Count + Sections.Count == 0;

        /// <summary>All but the name.</summary>
        public string Key => string.Join('\n', [.. Images.Select(static i => i.ToString()), "|", .. Initrd, "|", .. KernelFile, "|", .. Texts, "|", .. LineDigests, "|", .. Sections.Select(static s => s.ToString())]);
    }

    private List<Chain> FindChains()
    {
        var chains = _boots.Select(FindChain).Where(static c => !c.IsEmpty).DistinctBy(static c => c.Key).ToList();
        for (var i = 0; i < chains.Count; i++)
        {
            if (chains.Take(i).Any(c => c.Name == chains[i].Name))
                chains[i] = chains[i] with { Name = $"{chains[i].Name} ({i + 1})" };
        }

        if (chains.Count > 1)
            _notes.Add($"The boots start {chains.Count} different things; each is an alternative: {string.Join(", ", chains.Select(static c => c.Name))}.");
        return chains;
    }

    private Chain FindChain(BootStory boot)
    {
        var texts = boot.Lines.Select(static e => e.ProvenText!).Distinct().ToArray();
        var told = texts.SelectMany(text => LoadOptions(text)).ToHashSet();
        var initrd = Remarks(boot.Files.Where(static e => BootFiles.Guess(e) == BootFileKind.Initrd));
        var kernel = Remarks(boot.Files.Where(static e => BootFiles.Guess(e) == BootFileKind.Kernel));
        var lines = boot.Files.Where(static e => BootFiles.Guess(e) == BootFileKind.CommandLine).Select(e => BootDigestSet.Text(_bank, e.Digest)).Where(d => !told.Contains(d)).Distinct().ToArray();
        return new Chain(NameOf(boot, texts), FindImages(boot), initrd, kernel, texts, lines, FindSections(boot));
    }

    private List<Step> FindImages(BootStory boot)
    {
        var steps = new List<Step>();
        for (var i = 0; i < boot.Images.Count; i++)
        {
            var digest = BootDigestSet.Text(_bank, boot.Images[i].Digest);
            if (steps is [.., var last] && last.Digest == digest)
                steps[^1] = last with { Times = last.Times + 1 };
            else
                steps.Add(new Step(RoleOf(boot.Images[i], i, boot.Images.Count), digest, 1));
        }

        return steps;
    }

    // By its path if it has one that tells, by its place if not. Roles are for people; what counts are digests and their order.
    private static string RoleOf(in BootFact e, int place, int count)
    {
        var path = e.UntrustedData is BootEventData.ImageLoad image ? image.Path.File.ToLowerInvariant() : "";
        return path.Contains("shim", StringComparison.Ordinal) ? "shim"
            : path.Contains(@"\efi\linux\", StringComparison.Ordinal) ? "unified-kernel"
            : path.Contains("vmlinuz", StringComparison.Ordinal) || path.Length == 0 && place > 0 ? "kernel"
            : path.Contains("grub", StringComparison.Ordinal) || path.Contains("systemd-boot", StringComparison.Ordinal) || place < count - 1 ? "boot-loader"
            : count == 1 ? "application" : "kernel";
    }

    private List<(string Name, string Digest)> FindSections(BootStory boot)
    {
        var sections = new List<(string Name, string Digest)>();
        string? name = null;
        foreach (var e in boot.Sections)
        {
            if (e is { Measured: MeasuredPart.AsciiText, ProvenText: { } next })
            {
                name = next;
            }
            else if (name is not null)
            {
                sections.Add((name, BootDigestSet.Text(_bank, e.Digest)));
                name = null;
            }
        }

        return sections;
    }

    private static string NameOf(BootStory boot, string[] texts)
    {
        var path = boot.Files.Where(static e => BootFiles.Guess(e) == BootFileKind.Kernel).Select(static e => ((BootEventData.Ipl)e.UntrustedData).Text).FirstOrDefault()
            ?? texts.Where(static t => t is ['/' or '(', ..]).Select(static t => t.Split(' ')[0]).FirstOrDefault() ?? "";
        var name = BootWords.Printable(path[(path.LastIndexOfAny(['/', ')']) + 1)..]);
        return name.Length > 0 ? name : $"boot {boot.Number}";
    }

    private IReadOnlyList<string> Remarks(IEnumerable<BootFact> files) =>
        [.. files.Select(e => Remarked(BootDigestSet.Text(_bank, e.Digest), e.UntrustedData is BootEventData.Ipl ipl ? ipl.Text : "")).Distinct()];

    private IEnumerable<string> LoadOptions(string text) =>
        BootTexts.LoadOptions(text).Select(form => BootDigestSet.Text(_bank, CryptographicOperations.HashData(_bank.HashName(), Encoding.Unicode.GetBytes(form))));
}
