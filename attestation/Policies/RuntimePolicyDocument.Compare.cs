using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;

namespace Keylime.Attestation;

/// <summary>Two documents: both in one, and what differs.</summary>
public sealed partial class RuntimePolicyDocument
{
    /// <summary>Both in one: lists are united; of two settings that differ this document's is kept, and a note says so.</summary>
    public RuntimePolicyDocument Merge(RuntimePolicyDocument other, out IReadOnlyList<string> notes)
    {
        ArgumentNullException.ThrowIfNull(other);
        var said = new List<string>();
        var merged = new RuntimePolicyDocument
        {
            Version = Math.Max(Version, other.Version),
            Generator = Generator,
            Timestamp = Timestamp,
            Release = Math.Max(Release, other.Release),
            LogHash = Keep(LogHash, other.LogHash, "$.ima.log_hash_alg", said)!,
            DeviceMapper = DeviceMapper ?? other.DeviceMapper,
            VerificationKeys = MergeKeys(VerificationKeys, other.VerificationKeys, said),
            Violations = Unite(Violations, other.Violations),
        };
        Keep(Compact(DeviceMapper), Compact(other.DeviceMapper), "$.ima.dm_policy", said);
        if (other.Violations is { Budget: > 0 }) // none is no setting of its own: a proposal has paths alone
            Keep(Violations?.Budget.ToString(CultureInfo.InvariantCulture), other.Violations.Budget.ToString(CultureInfo.InvariantCulture), "$.violations.budget", said);
        foreach (var document in (RuntimePolicyDocument[])[this, other])
        {
            Unite(merged.Digests, document.Digests);
            Unite(merged.Keyrings, document.Keyrings);
            Unite(merged.Buffers, document.Buffers);
            merged.IgnoredKeyrings.UnionWith(document.IgnoredKeyrings);
            foreach (var pattern in document.Excludes.Where(p => !merged.Excludes.Contains(p)).ToArray())
                merged.Excludes.Add(pattern);
            foreach (var (name, rule) in document.ClassRules)
            {
                if (!merged.ClassRules.TryAdd(name, rule))
                    Keep(Describe(merged.ClassRules[name]), Describe(rule), $"$.class-rules.{name}", said);
            }

            foreach (var (path, value) in document.Unknown)
            {
                if (!merged.Unknown.TryAdd(path, value))
                    Keep(Compact(merged.Unknown[path]), Compact(value), path, said);
            }
        }

        notes = said;
        return merged;
    }

    /// <summary>What changes on the way from this document to the other.</summary>
    public RuntimePolicyDiff Diff(RuntimePolicyDocument other)
    {
        ArgumentNullException.ThrowIfNull(other);
        var changes = ImmutableArray.CreateBuilder<PolicyChange>();
        Setting("$.meta.version", Version.ToString(CultureInfo.InvariantCulture), other.Version.ToString(CultureInfo.InvariantCulture));
        Setting("$.meta.generator", Generator.ToString(CultureInfo.InvariantCulture), other.Generator.ToString(CultureInfo.InvariantCulture));
        Setting("$.release", Release.ToString(CultureInfo.InvariantCulture), other.Release.ToString(CultureInfo.InvariantCulture));
        Lists("$.digests", Digests, other.Digests);
        Members("$.excludes", Excludes, other.Excludes);
        Lists("$.keyrings", Keyrings, other.Keyrings);
        Members("$.ima.ignored_keyrings", IgnoredKeyrings, other.IgnoredKeyrings);
        Setting("$.ima.log_hash_alg", LogHash, other.LogHash);
        Setting("$.ima.dm_policy", Compact(DeviceMapper), Compact(other.DeviceMapper));
        Lists("$.ima-buf", Buffers, other.Buffers);
        Members("$.verification-keys", KeysOf(VerificationKeys), KeysOf(other.VerificationKeys));
        Setting("$.violations.budget", Violations?.Budget.ToString(CultureInfo.InvariantCulture), other.Violations?.Budget.ToString(CultureInfo.InvariantCulture));
        Members("$.violations.paths", Violations?.Paths ?? [], other.Violations?.Paths ?? []);
        foreach (var name in ClassRules.Keys.Union(other.ClassRules.Keys).Order(StringComparer.Ordinal))
            Setting($"$.class-rules.{name}", Describe(ClassRules.GetValueOrDefault(name)), Describe(other.ClassRules.GetValueOrDefault(name)));
        foreach (var path in Unknown.Keys.Union(other.Unknown.Keys).Order(StringComparer.Ordinal))
            Setting(path, Raw(Unknown, path), Raw(other.Unknown, path));
        return new RuntimePolicyDiff(changes.DrainToImmutable());

        void Setting(string member, string? before, string? after)
        {
            if (before != after)
                changes.Add(new PolicyChange(member, null, before is null ? [] : [before], after is null ? [] : [after]));
        }

        void Members(string member, IEnumerable<string> before, IEnumerable<string> after)
        {
            foreach (var gone in before.Except(after))
                changes.Add(new PolicyChange(member, gone, [gone], []));
            foreach (var added in after.Except(before))
                changes.Add(new PolicyChange(member, added, [], [added]));
        }

        void Lists(string member, SortedDictionary<string, SortedSet<string>> before, SortedDictionary<string, SortedSet<string>> after)
        {
            foreach (var name in before.Keys.Union(after.Keys).Order(StringComparer.Ordinal))
            {
                var (old, now) = (before.GetValueOrDefault(name) ?? [], after.GetValueOrDefault(name) ?? []);
                if (!old.SetEquals(now))
                    changes.Add(new PolicyChange(member, name, [.. old.Except(now)], [.. now.Except(old)]) { WasThere = old.Count > 0, IsThere = now.Count > 0 });
            }
        }
    }

    private static string? Raw(SortedDictionary<string, JsonElement> members, string path) =>
        members.TryGetValue(path, out var value) ? Compact(value) : null;

    // White space between is not what a value is.
    private static string? Compact(JsonElement? value)
    {
        if (value is null)
            return null;
        using var text = new MemoryStream();
        using (var json = new Utf8JsonWriter(text, Form with { Indented = false }))
            value.Value.WriteTo(json);
        return System.Text.Encoding.UTF8.GetString(text.ToArray());
    }

    private static string? Keep(string? mine, string? theirs, string where, List<string> notes)
    {
        if (mine is not null && theirs is not null && mine != theirs)
            notes.Add($"{where}: {Short(mine)} is kept, and {Short(theirs)} is not.");
        return mine ?? theirs;
    }

    private static string Short(string text) => text.Length <= 80 ? text : text[..80] + "…";

    private static string MergeKeys(string mine, string theirs, List<string> notes)
    {
        if (mine.Length == 0 || theirs.Length == 0 || mine == theirs)
            return mine.Length == 0 ? theirs : mine;
        if (!Keyring.TryFromPolicy(mine, out var keyring, out var error) || !Keyring.TryFromPolicy(theirs, out var others, out error))
        {
            notes.Add($"$.verification-keys: the first policy's are kept, because they cannot be united: {error}");
            return mine;
        }

        foreach (var key in others.Keys)
            keyring = keyring.Add(key);
        return keyring.ToPolicy();
    }

    private static IEnumerable<string> KeysOf(string text) =>
        text.Length == 0 ? []
        : Keyring.TryFromPolicy(text, out var keyring, out _) ? keyring.Keys.Select(static k => $"{k.Key.Type} {k.Id:x8} (SHA-256 {k.Key.Hash})")
        : [Short(text)];

    private static string? Describe(ClassRuleText? rule) => rule is null ? null : rule.Reason is null ? rule.Mode : $"{rule.Mode} ({rule.Reason})";

    // Paths are a list, the budget is a setting.
    private static ViolationRules? Unite(ViolationRules? mine, ViolationRules? theirs) =>
        mine is null || theirs is null ? mine ?? theirs : new ViolationRules(mine.Budget, [.. mine.Paths.Union(theirs.Paths)]);

    private static void Unite(SortedDictionary<string, SortedSet<string>> into, SortedDictionary<string, SortedSet<string>> from)
    {
        foreach (var (name, digests) in from)
        {
            if (into.TryGetValue(name, out var there))
                there.UnionWith(digests);
            else
                into.Add(name, new SortedSet<string>(digests, StringComparer.Ordinal));
        }
    }
}
