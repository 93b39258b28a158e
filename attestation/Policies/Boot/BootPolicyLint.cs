using System.Collections.Immutable;
using System.Text;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>What event rules say in vain, or would be wiser not to say.</summary>
internal static class BootPolicyLint
{
    // What nobody would write on purpose: a pattern that matches it matches everything.
    private static readonly byte[] Nonsense = Encoding.UTF8.GetBytes("\u0001no boot loader writes this");

    public static ImmutableArray<string> Check(EventRules rules) =>
    [
        .. CheckCoverage(rules), .. CheckDatabases(rules), .. CheckMeasured(rules), .. CheckChains(rules), .. CheckTexts(rules), .. CheckBanks(rules), .. CheckVolatile(rules),
    ];

    private static IEnumerable<string> CheckCoverage(EventRules rules)
    {
        foreach (var (pcr, what) in ((int, string)[])[(0, "the firmware"), (2, "drivers on cards"), (4, "boot loaders and kernels"), (7, "Secure Boot")])
        {
            if (!rules.Pcrs.Contains(pcr))
                yield return $"$.pcrs: PCR {pcr} is not judged, so {what} may be anything.";
        }

        if (rules.Pcrs.Contains(7) && rules.SecureBoot is not SecureBootRule.On)
            yield return "$.events.secure-boot: it need not be on: whoever can write to the disk chooses what boots, and only digests tell.";
    }

    private static IEnumerable<string> CheckDatabases(EventRules rules)
    {
        foreach (var rule in rules.Databases)
        {
            var path = $"$.events.databases.{rule.Name}";
            if (rule is { AtLeast: { } least, AtMost: { } most } && least.Keys.FirstOrDefault(k => !most.ContainsKey(k)) is { } outside)
                yield return $"{path}: it can never match: at-least has {outside}, which at-most does not.";
            if (rule.IsMok && rule.Digests is null)
                yield return $"{path}: it can never match: shim measures its contents by their digest alone, so only digests can be compared.";
            if (rules.SecureBoot == SecureBootRule.On && rule is { Name: "PK" or "KEK" or "db", AtMost.IsEmpty: true })
                yield return $"{path}: it can never match: with Secure Boot on, this database is not empty.";
            if (rule.Name == "vendor_db" && rule is { AtMost: null, Digests: null })
                yield return $"{path}: at-least can never be seen: only the entry that let an image run is measured. at-most tells which may.";
        }
    }

    private static IEnumerable<string> CheckMeasured(EventRules rules)
    {
        for (var i = 0; i < rules.Measured.Length; i++)
        {
            var rule = rules.Measured[i];
            var earlier = rules.Measured.Take(i).Where(m => m.Pcr == rule.Pcr).SelectMany(static m => m.Digests.Entries).ToHashSet();
            if (rule.Digests.Entries.All(earlier.Contains))
                yield return $"$.events.measured[{i}]: it can never match: rules before it have all of its digests.";
        }

        for (var i = 0; i < rules.Variables.Length; i++)
        {
            var rule = rules.Variables[i];
            if (rules.Variables.Take(i).Any(v => v.Pcr == rule.Pcr && v.Name == rule.Name && v.Vendor == rule.Vendor))
                yield return $"$.events.variables[{i}]: it can never match: a rule before it has the same variable.";
            // An entry of db or vendor_db that let an image run may have a rule of its own beside the database's.
            if (rule.Pcr == 7 && rule.Name is not ("db" or "vendor_db") && rules.Databases.Any(d => d.Name == rule.Name && DatabaseRule.Known.Any(k => k.Name == rule.Name && k.Vendor == rule.Vendor)))
                yield return $"$.events.variables[{i}]: it can never match: $.events.databases.{rule.Name} comes first.";
        }
    }

    private static IEnumerable<string> CheckChains(EventRules rules)
    {
        for (var i = 0; i < rules.Boot.Length; i++)
        {
            if (rules.Boot.Take(i).Any(b => b.Name == rules.Boot[i].Name))
                yield return $"$.events.boot[{i}]: another alternative has the name '{rules.Boot[i].Name}' too.";
            var steps = rules.Boot[i].Images;
            for (var at = 1; at < steps.Length; at++)
            {
                // A program fits the first step that may take it, so a step whose digests the one before it has, and may have again, gets none.
                if (steps[at - 1].Most > 1 && !steps[at - 1].Required && steps[at].Digests.Entries.All(steps[at - 1].Digests.Entries.Contains))
                    yield return $"$.events.boot[{i}].images[{at}]: it can never match: the step before it has all of its digests.";
            }

            if (rules.Pcrs.Contains(4) && steps.IsEmpty)
                yield return $"$.events.boot[{i}]: it lists no image, so any program that is started is refused.";
        }
    }

    private static IEnumerable<string> CheckTexts(EventRules rules)
    {
        foreach (var (path, rule) in Texts(rules))
        {
            for (var i = 0; i < rule.PatternTexts.Length; i++)
            {
                if (PatternList.TryCreate([rule.PatternTexts[i]], PatternExtent.Whole, path, out var pattern, out _) && pattern.Matches(Nonsense))
                    yield return $"{path}.patterns[{i}]: the pattern matches any text, so nothing is asked of it.";
            }
        }

        // What GRUB measures begins with the kernel's path.
        if (rules.Pcrs.Contains(8) && !rules.Pcrs.Contains(9) && !rules.Pcrs.Contains(12))
        {
            foreach (var (path, rule) in Texts(rules).Where(static t => t.Path.EndsWith("command-line", StringComparison.Ordinal)))
            {
                foreach (var text in rule.Texts.Where(static t => t is not ['/' or '(', ..]).Order(StringComparer.Ordinal))
                    yield return $"{path}.texts: '{BootWords.Printable(text)}' can hardly match: what GRUB measures begins with the kernel's path.";
            }
        }
    }

    private static IEnumerable<string> CheckBanks(EventRules rules)
    {
        var sets = RequiredSets(rules).Where(static s => !s.IsEmpty).ToArray();
        if (sets.Length > 0 && !BootDigestSet.Banks.Any(bank => sets.All(s => s.Has(bank))))
            yield return "$.events: no boot can pass: a quote is of one bank, and the rules that want an event have digests of no bank in common.";
        if (sets.Any(static s => s.Has(TpmAlgorithm.Sha1)))
            yield return "$.events: digests of SHA-1 are listed; programs with the same SHA-1 can be made.";
    }

    private static IEnumerable<string> CheckVolatile(EventRules rules)
    {
        foreach (var rule in rules.Volatile)
        {
            var path = $"$.events.volatile.{rule.Class.Name}";
            if (!rule.Class.IsProven)
                yield return $"{path}: which events are of this class is the log's word alone: up to {rule.Most} unknown {(rule.Most == 1 ? "digest passes" : "digests pass")} in PCR {rule.Class.Pcr}.";
            if (rule.Class.Name == "loader-commands" && rules.LoaderCommands is not null)
                yield return $"{path}: any command passes, so $.events.loader-commands decides nothing.";
            if (rule.Class.Name == "network-boot-entries" && rules.Volatile.Any(static v => v.Class.Name == "boot-entries"))
                yield return $"{path}: boot-entries has all of these.";
        }
    }

    private static IEnumerable<(string Path, TextRule Rule)> Texts(EventRules rules)
    {
        if (rules.LoaderCommands is { } commands)
            yield return ("$.events.loader-commands", commands);
        for (var i = 0; i < rules.Boot.Length; i++)
        {
            if (rules.Boot[i].CommandLine is { } line)
                yield return ($"$.events.boot[{i}].command-line", line);
        }
    }

    private static IEnumerable<BootDigestSet> RequiredSets(EventRules rules) =>
    [
        .. rules.Measured.Where(static m => m.Required).Select(static m => m.Digests),
        .. rules.Databases.Select(static d => d.Digests).OfType<BootDigestSet>(),
        .. rules.Boot is [var only] ? [.. only.Images.Where(static s => s.Required).Select(static s => s.Digests), only.Initrd, only.KernelFile] : (IEnumerable<BootDigestSet>)[],
    ];
}
