using System.Text.Json;

namespace Keylime.Attestation;

/// <summary>From text to document.</summary>
public sealed partial class RuntimePolicyDocument
{
    private void Read(JsonElement root)
    {
        foreach (var member in Members(root, "$"))
        {
            var where = $"$.{member.Name}";
            switch (member.Name)
            {
                case "meta":
                    ReadMeta(member.Value);
                    break;
                case "release":
                    Release = Number(member.Value, where);
                    break;
                case "digests":
                    ReadLists(member.Value, where, Digests);
                    break;
                case "excludes":
                    AddStrings(member.Value, where, Excludes);
                    break;
                case "keyrings":
                    ReadLists(member.Value, where, Keyrings);
                    break;
                case "ima":
                    ReadIma(member.Value);
                    break;
                case "ima-buf":
                    ReadLists(member.Value, where, Buffers);
                    break;
                case "verification-keys":
                    VerificationKeys = Text(member.Value, where);
                    break;
                case "violations":
                    ReadViolations(member.Value);
                    break;
                case "class-rules":
                    ReadClassRules(member.Value);
                    break;
                default:
                    Keep(where, member.Value);
                    break;
            }
        }
    }

    private void ReadMeta(JsonElement meta)
    {
        foreach (var member in Members(meta, "$.meta"))
        {
            var where = $"$.meta.{member.Name}";
            switch (member.Name)
            {
                case "version":
                    Version = Number(member.Value, where);
                    break;
                case "generator":
                    Generator = Number(member.Value, where);
                    break;
                case "timestamp":
                    Timestamp = Text(member.Value, where);
                    break;
                default:
                    Keep(where, member.Value);
                    break;
            }
        }
    }

    private void ReadIma(JsonElement ima)
    {
        foreach (var member in Members(ima, "$.ima"))
        {
            var where = $"$.ima.{member.Name}";
            switch (member.Name)
            {
                case "ignored_keyrings":
                    var ignored = new List<string>();
                    AddStrings(member.Value, where, ignored);
                    IgnoredKeyrings.UnionWith(ignored);
                    break;
                case "log_hash_alg":
                    LogHash = Text(member.Value, where);
                    break;
                case "dm_policy":
                    DeviceMapper = member.Value.ValueKind == JsonValueKind.Null ? null : Writable(member.Value);
                    break;
                default:
                    Keep(where, member.Value);
                    break;
            }
        }
    }

    private void ReadViolations(JsonElement violations)
    {
        long budget = 0;
        var paths = new List<string>();
        foreach (var member in Members(violations, "$.violations"))
        {
            var where = $"$.violations.{member.Name}";
            if (member.Name == "budget")
                budget = member.Value.ValueKind == JsonValueKind.Number && member.Value.TryGetInt64(out var number) ? number : throw Wrong(where, member.Value, "a whole number");
            else if (member.Name == "paths")
                AddStrings(member.Value, where, paths);
            else
                throw new JsonException($"{where}: 'budget' and 'paths' are expected.");
        }

        Violations = new ViolationRules(budget, paths);
    }

    private void ReadClassRules(JsonElement rules)
    {
        foreach (var rule in Members(rules, "$.class-rules"))
        {
            string? mode = null, reason = null;
            foreach (var member in Members(rule.Value, $"$.class-rules.{rule.Name}"))
            {
                var text = Text(member.Value, $"$.class-rules.{rule.Name}.{member.Name}");
                if (member.Name == "mode")
                    mode = text;
                else if (member.Name == "reason")
                    reason = text;
                else
                    throw new JsonException($"$.class-rules.{rule.Name}.{member.Name}: 'mode' and 'reason' are expected.");
            }

            ClassRules[rule.Name] = new ClassRuleText(mode ?? throw new JsonException($"$.class-rules.{rule.Name}.mode: the member is missing."), reason);
        }
    }

    private void ReadLists(JsonElement lists, string where, SortedDictionary<string, SortedSet<string>> into)
    {
        if (lists.ValueKind != JsonValueKind.Object)
            throw Wrong(where, lists, "an object");
        var digests = new List<string>();
        foreach (var list in lists.EnumerateObject())
        {
            digests.Clear();
            AddStrings(list.Value, $"{where}['{list.Name}']", digests);
            if (!into.TryAdd(list.Name, new SortedSet<string>(digests, StringComparer.Ordinal)))
            {
                into[list.Name].UnionWith(digests);
                _duplicates.Add(($"{where}['{list.Name}']", true));
            }
            else if (into[list.Name].Count < digests.Count)
            {
                _duplicates.Add(($"{where}['{list.Name}']", false));
            }
        }
    }

    private static void AddStrings(JsonElement array, string where, ICollection<string> into)
    {
        if (array.ValueKind != JsonValueKind.Array)
            throw Wrong(where, array, "an array of strings");
        foreach (var item in array.EnumerateArray())
            into.Add(Text(item, where));
    }

    private void Keep(string where, JsonElement value) => Unknown[where] = Writable(value);

    // A string that is no text (half a surrogate pair) can be kept, and not be written.
    private static JsonElement Writable(JsonElement value)
    {
        _ = Compact(value);
        return value.Clone();
    }

    private IEnumerable<JsonProperty> Members(JsonElement value, string where)
    {
        if (value.ValueKind != JsonValueKind.Object)
            throw Wrong(where, value, "an object");
        var seen = new HashSet<string>();
        foreach (var member in value.EnumerateObject())
        {
            if (!seen.Add(member.Name))
                _duplicates.Add(($"{where}.{member.Name}", true));
            yield return member;
        }
    }

    private static int Number(JsonElement value, string where) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out var number) ? number : throw Wrong(where, value, "a whole number");

    private static string Text(JsonElement value, string where) =>
        value.ValueKind == JsonValueKind.String ? value.GetString()! : throw Wrong(where, value, "a string");

    private static JsonException Wrong(string where, JsonElement found, string expected) => new($"{where}: {found.ValueKind} found, {expected} expected.");
}
