namespace Keylime.Attestation;

/// <summary>What event rules allow, set by set. Alternatives are put together: a comparison in words tells which values are new, and not which go together.</summary>
internal static class EventRulesLines
{
    public static IEnumerable<BootPolicyLine> Of(EventRules rules)
    {
        yield return new BootPolicyLine("PCRs", "PCR", [.. rules.Pcrs.Select(static p => $"{p}")]);
        yield return new BootPolicyLine("Secure Boot", "setting", rules.SecureBoot is { } secure ? [secure.ToString().ToLowerInvariant()] : []);
        yield return new BootPolicyLine("firmware", "alternative", [.. rules.Firmware.Select(static f => f.Name).Distinct()]);
        yield return new BootPolicyLine("firmware version", "text", [.. rules.Firmware.SelectMany(static f => f.Versions ?? []).Distinct()]);
        yield return new BootPolicyLine("firmware digests", "digest", [.. rules.Firmware.SelectMany(static f => f.Digests).Select(static d => Remarked($"{Tpm.TpmAlgorithms.ProtocolName(d.Bank)}:{d.Hex}", d.Remark)).Distinct()]);
        foreach (var database in rules.Databases)
        {
            if (database.AtLeast is { } least)
                yield return new BootPolicyLine(ReferenceEquals(least, database.AtMost) ? database.Name : $"{database.Name}, at least", "entry", [.. least.Select(static e => Remarked(e.Key, e.Value))]);
            if (database.AtMost is { } most && !ReferenceEquals(most, database.AtLeast))
                yield return new BootPolicyLine($"{database.Name}, at most", "entry", [.. most.Select(static e => Remarked(e.Key, e.Value))]);
            if (database.Digests is { } digests)
                yield return new BootPolicyLine(database.Name, "digest", digests.Texts);
        }

        foreach (var variable in rules.Variables)
            yield return new BootPolicyLine($"variable {variable.Name}", "value", variable.Values.Texts);
        foreach (var line in OfBoot(rules))
            yield return line;
        foreach (var group in rules.Measured.GroupBy(static m => $"PCR {m.Pcr}, '{m.Name}'"))
            yield return new BootPolicyLine(group.Key, "digest", [.. group.SelectMany(static m => m.Digests.Texts).Distinct()]);
        yield return new BootPolicyLine("volatile classes", "class", [.. rules.Volatile.Select(static v => $"{v.Class.Name} (at most {v.Most})")]);
    }

    private static IEnumerable<BootPolicyLine> OfBoot(EventRules rules)
    {
        yield return new BootPolicyLine("boot", "alternative", [.. rules.Boot.Select(static b => b.Name)]);
        foreach (var step in rules.Boot.SelectMany(static b => b.Images).GroupBy(static i => i.Words))
            yield return new BootPolicyLine(step.Key, "digest", [.. step.SelectMany(static i => i.Digests.Texts).Distinct()]);
        yield return new BootPolicyLine("initrd", "digest", [.. rules.Boot.SelectMany(static b => b.Initrd.Texts).Distinct()]);
        yield return new BootPolicyLine("kernel file", "digest", [.. rules.Boot.SelectMany(static b => b.KernelFile.Texts).Distinct()]);
        foreach (var section in rules.Boot.SelectMany(static b => b.Sections).GroupBy(static s => s.Key))
            yield return new BootPolicyLine($"section {section.Key}", "digest", [.. section.SelectMany(static s => s.Value.Texts).Distinct()]);
        foreach (var line in OfTexts("command line", rules.Boot.Select(static b => b.CommandLine)))
            yield return line;
        foreach (var line in OfTexts("loader commands", [rules.LoaderCommands]))
            yield return line;
    }

    private static IEnumerable<BootPolicyLine> OfTexts(string label, IEnumerable<TextRule?> rules)
    {
        TextRule[] all = [.. rules.OfType<TextRule>()];
        yield return new BootPolicyLine(label, "text", [.. all.SelectMany(static r => r.Texts).Distinct()]);
        yield return new BootPolicyLine($"{label} (patterns)", "pattern", [.. all.SelectMany(static r => r.PatternTexts).Distinct()]);
        yield return new BootPolicyLine($"{label} (digests)", "digest", [.. all.SelectMany(static r => r.Digests.Texts).Distinct()]);
    }

    private static string Remarked(string value, string remark) => remark.Length == 0 ? value : $"{value} {remark}";
}
