using System.Text;

namespace Keylime.Attestation;

/// <summary>What a reader with time would object to.</summary>
public sealed partial class RuntimePolicyDocument
{
    private const int Sha1Hex = 40;
    private const int MaxNamed = 1000;

    /// <summary>What is wrong or unwise in it.</summary>
    public IReadOnlyList<PolicyLint> Lint()
    {
        var found = new List<PolicyLint>();
        foreach (var (where, isName) in _duplicates)
            found.Add(new PolicyLint(isName ? "member.duplicate" : "digest.duplicate", where, isName ? "It is there twice." : "It lists a digest twice.", isName));
        LintDigests(found);
        LintExcludes(found);
        LintSettings(found);
        foreach (var path in Unknown.Keys.Where(static p => p != "$.provenance")) // the tool's own: where the digests came from
            found.Add(new PolicyLint("member.unknown", path, "Nobody here knows this member; it has no effect.", false));

        // Whatever else the service's own reader objects to.
        if (!found.Any(static l => l.IsError) && !RuntimePolicy.TryParse(Write(), out _, out var error))
            found.Add(new PolicyLint("policy.refused", "$", error, true));
        return found;
    }

    private void LintDigests(List<PolicyLint> found)
    {
        if (Digests.Count == 0 && Keyrings.Count == 0 && VerificationKeys.Length == 0)
            found.Add(new PolicyLint("policy.empty", "$.digests", "No digest, no keyring and no key is listed: such a policy appraises nothing.", true));
        foreach (var (where, lists) in (ReadOnlySpan<(string, SortedDictionary<string, SortedSet<string>>)>)[("$.digests", Digests), ("$.keyrings", Keyrings), ("$.ima-buf", Buffers)])
        {
            foreach (var (name, digests) in lists)
            {
                if (digests.Count == 0)
                    found.Add(new PolicyLint("digest.none", $"{where}['{name}']", "It lists no digest. A path that may have any content belongs into excludes.", true));
                else if (digests.FirstOrDefault(static d => d.Length is not (40 or 48 or 56 or 64 or 80 or 96 or 128) || !d.All(char.IsAsciiHexDigitLower)) is { } bad)
                    found.Add(new PolicyLint("digest.malformed", $"{where}['{name}']", $"'{Short(bad)}' is no digest in lower-case hex, of 40, 48, 56, 64, 80, 96 or 128 digits.", true));
            }
        }

        Tell("digest.weak", Digests.Where(static d => d.Value.Count > 0 && d.Value.All(static x => x.Length == Sha1Hex)),
            "listed with SHA-1 alone, for which two files with one digest can be made");
        Tell("path.space", Digests.Where(static d => d.Key.Contains(' ', StringComparison.Ordinal)),
            "with a space, for which the kernel measures '_': as it stands it can never match");
        Tell("path.relative", Digests.Where(static d => !d.Key.StartsWith('/') && d.Key is not "boot_aggregate" && !d.Key.StartsWith("memfd:", StringComparison.Ordinal)),
            "that does not start with '/': the kernel measures whole paths, so it hardly ever matches");

        void Tell(string code, IEnumerable<KeyValuePair<string, SortedSet<string>>> paths, string what)
        {
            if (paths.Count() is > 0 and var count)
                found.Add(new PolicyLint(code, $"$.digests['{paths.First().Key}']", $"{count} {(count == 1 ? "path is" : "paths are")} {what}.", false));
        }
    }

    private void LintExcludes(List<PolicyLint> found)
    {
        for (var i = 0; i < Excludes.Count; i++)
        {
            var where = $"$.excludes[{i}]";
            if (!PatternList.TryCreate([Excludes[i]], PatternExtent.Prefix, "$.excludes", out var pattern, out var error))
                found.Add(new PolicyLint("exclude.malformed", where, error, true));
            else if (pattern.Matches("/\u0001no file has this name"u8))
                found.Add(new PolicyLint("exclude.matches_everything", where, $"'{Excludes[i]}' matches every path: nothing that the policy does not list is judged.", false));
            else if (Excludes.Take(i).Contains(Excludes[i]))
                found.Add(new PolicyLint("exclude.duplicate", where, $"'{Excludes[i]}' is there twice.", false));
            else if (char.IsAsciiLetterOrDigit(Excludes[i].FirstOrDefault(static c => c != '^')) && Excludes[i].Contains('/', StringComparison.Ordinal))
                found.Add(new PolicyLint("exclude.never_matches", where, $"'{Excludes[i]}' does not start with '/', and paths do: it can never match one.", false));
            else
                LintCovered(found, where, Excludes[i], pattern);
        }
    }

    // A listed path that is excluded too may have any digest.
    private void LintCovered(List<PolicyLint> found, string where, string text, PatternList pattern)
    {
        var covered = Digests.Keys.Where(p => pattern.Matches(Encoding.UTF8.GetBytes(p))).Take(MaxNamed).ToArray();
        if (covered is [var first, ..])
        {
            var count = covered.Length == MaxNamed ? $"{MaxNamed} or more paths" : covered.Length == 1 ? "a path" : $"{covered.Length} paths";
            found.Add(new PolicyLint("exclude.covers_listed", where, $"'{text}' covers {count} that digests are listed for, {first} for one: these are never compared.", false));
        }
    }

    private void LintSettings(List<PolicyLint> found)
    {
        if (Generator < 2)
            found.Add(new PolicyLint("meta.generator", "$.meta.generator", $"{Generator}: upstream does not apply a policy whose generator is below 2; here it is applied.", false));
        if (IgnoredKeyrings.Contains("*"))
            found.Add(new PolicyLint("keyrings.all_ignored", "$.ima.ignored_keyrings", "'*': no key that is loaded is judged, and none is learned.", false));
        if (Violations is { } violations)
        {
            if (PatternList.TryCreate([.. violations.Paths], PatternExtent.Prefix, "$.violations.paths", out var paths, out _) && paths.Matches("/\u0001no file has this name"u8))
                found.Add(new PolicyLint("violations.matches_everything", "$.violations.paths", "The patterns match every path: any number of violations is tolerated.", false));
        }

        foreach (var (name, rule) in ClassRules)
        {
            var modes = Attestation.ClassRules.ModesOf(name);
            if (modes.IsEmpty)
                found.Add(new PolicyLint("class_rule.unknown", $"$.class-rules.{name}", $"{string.Join(", ", Attestation.ClassRules.Names)} are the class rules that there are.", true));
            else if (!modes.Contains(rule.Mode))
                found.Add(new PolicyLint("class_rule.mode", $"$.class-rules.{name}.mode", $"'{rule.Mode}': {string.Join(", ", modes)} are its modes.", true));
            else if (rule.Mode == Attestation.ClassRules.Allow && string.IsNullOrWhiteSpace(rule.Reason))
                found.Add(new PolicyLint("class_rule.no_reason", $"$.class-rules.{name}", "It allows what nobody judges, and gives no reason.", false));
        }
    }
}
