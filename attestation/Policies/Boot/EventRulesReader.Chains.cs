using System.Collections.Immutable;
using System.Text.Json;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <content>What is started behind the firmware.</content>
internal static partial class EventRulesReader
{
    private const int MaxTimes = 8;

    private static BootChain ReadChain(BootJson json, PcrSet pcrs)
    {
        json.ExpectObject("name", "images", "initrd", "kernel-file", "command-line", "sections");
        var chain = new BootChain
        {
            Name = json.Member("name").Words(),
            Images = [.. json.Optional("images") is { } images ? Within(images, pcrs, 4).SomeItems().Select(ReadImage) : []],
            Initrd = json.Optional("initrd") is { } initrd ? BootDigestSet.Read(Within(initrd, pcrs, 9)) : new BootDigestSet(),
            KernelFile = json.Optional("kernel-file") is { } file ? BootDigestSet.Read(Within(file, pcrs, 9)) : new BootDigestSet(),
            CommandLine = json.Optional("command-line") is { } line ? ReadTexts(Within(line, pcrs, 8, 9, 12)) : null,
            Sections = json.Optional("sections") is { } sections ? ReadSections(Within(sections, pcrs, 11)) : ImmutableSortedDictionary<string, BootDigestSet>.Empty,
        };
        return chain is { Images: [], Initrd.IsEmpty: true, KernelFile.IsEmpty: true, CommandLine: null, Sections.IsEmpty: true }
            ? throw new JsonException($"{json.Path}: it lists nothing that is booted.")
            : chain;
    }

    private static ImageStep ReadImage(BootJson json)
    {
        json.ExpectObject("role", "digests", "required", "most");
        var role = json.Member("role");
        if (!ImageStep.Roles.Contains(role.Text()))
            throw new JsonException($"{role.Path}: {string.Join(", ", ImageStep.Roles)} are known.");
        return new ImageStep(
            role.Text(), BootDigestSet.Read(json.Member("digests")), json.Optional("required")?.Flag() ?? true, json.Optional("most")?.Number(1, MaxTimes) ?? 1);
    }

    private static TextRule ReadTexts(BootJson json)
    {
        json.ExpectObject("texts", "patterns", "digests");
        var texts = json.Optional("texts")?.SomeItems().Select(ReadText).ToImmutableHashSet(StringComparer.Ordinal) ?? [];
        var patternTexts = json.Optional("patterns")?.SomeItems().Select(static p => p.Text()).ToImmutableArray() ?? [];
        var patterns = (PatternList?)null;
        if (patternTexts.Length > 0 && !PatternList.TryCreate(patternTexts, PatternExtent.Whole, $"{json.Path}.patterns", out patterns, out var error))
            throw new JsonException(error);
        var digests = json.Optional("digests") is { } list ? BootDigestSet.Read(list) : new BootDigestSet();
        return texts.IsEmpty && patternTexts.IsEmpty && digests.IsEmpty
            ? throw new JsonException($"{json.Path}: texts, patterns or digests are expected.")
            : new TextRule(texts, patterns, patternTexts, digests);
    }

    private static string ReadText(BootJson json)
    {
        const int most = 65_536;
        var text = json.Text();
        return text.Length is > 0 and <= most && !text.Contains('\0', StringComparison.Ordinal)
            ? text
            : throw new JsonException($"{json.Path}: a text without NUL is expected, of 1 to {most} characters.");
    }

    private static ImmutableSortedDictionary<string, BootDigestSet> ReadSections(BootJson json)
    {
        var sections = ImmutableSortedDictionary.CreateBuilder<string, BootDigestSet>(StringComparer.Ordinal);
        foreach (var (name, digests) in json.Members())
        {
            if (name is not ['.', _, ..])
                throw new JsonException($"{digests.Path}: a section's name is expected, as .linux.");
            sections[name] = BootDigestSet.Read(digests);
        }

        return sections.Count > 0 ? sections.ToImmutable() : throw new JsonException($"{json.Path}: no section is listed.");
    }
}
