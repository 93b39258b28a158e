using System.Collections.Immutable;
using System.Text.Json;

namespace Keylime.Attestation;

/// <summary>
/// Reads upstream's device-mapper policy (keylime/ima/types.py, Policies). Every member has to be there, and no other: a restriction that is misspelt would be none.
/// </summary>
internal static class DeviceMapperPolicyReader
{
    private const string Root = "$.ima.dm_policy";
    private const int MaxRules = 256;
    private const int MaxAttributes = 256;

    private static readonly string[] DeviceFields = ["name", "uuid", "major", "minor", "minor_count"];

    /// <exception cref="JsonException">It is none.</exception>
    public static DeviceMapperPolicy Read(JsonElement root)
    {
        ExpectMembers(root, Root, "version", "match_on", "rules");
        if (root.GetProperty("version") is not { ValueKind: JsonValueKind.Number } version || !version.TryGetInt32(out var number) || number != 1)
            throw new JsonException($"{Root}.version: 1 is expected.");

        var matchOn = root.GetProperty("match_on") is { ValueKind: JsonValueKind.String } text ? text.GetString() : null;
        if (matchOn is not ("name" or "uuid"))
            throw new JsonException($"{Root}.match_on: 'name' or 'uuid' is expected.");

        var rules = ImmutableArray.CreateBuilder<DeviceMapperRule>();
        Expect(root.GetProperty("rules"), JsonValueKind.Object, $"{Root}.rules");
        foreach (var rule in root.GetProperty("rules").EnumerateObject())
        {
            if (rules.Count == MaxRules)
                throw new JsonException($"{Root}.rules: more than {MaxRules} rules.");
            if (System.Text.Encoding.UTF8.GetByteCount(rule.Name) is var length and (0 or > DeviceMapperState.MaxText))
                throw new JsonException($"{Root}.rules: a name of {length} bytes; 1 to {DeviceMapperState.MaxText} are expected.");
            rules.Add(ReadRule(rule.Name, rule.Value, $"{Root}.rules['{rule.Name}']", matchOn));
        }

        return rules.Count > 0 ? new DeviceMapperPolicy(matchOn == "uuid", rules.ToImmutable()) : throw new JsonException($"{Root}.rules: it is empty; null instead of the policy says that there is none.");
    }

    private static DeviceMapperRule ReadRule(string name, JsonElement rule, string path, string matchOn)
    {
        ExpectMembers(rule, path, "required", "device_resume_required", "device_rename", "device_remove", "allow_clear", "table_load");
        var rename = rule.GetProperty("device_rename");
        ExpectMembers(rename, $"{path}.device_rename", "valid_name", "valid_uuid");
        var remove = rule.GetProperty("device_remove");
        ExpectMembers(remove, $"{path}.device_remove", "allow_removal");
        var load = rule.GetProperty("table_load");
        ExpectMembers(load, $"{path}.table_load", "allow_multiple_loads", "name", "uuid", "major", "minor", "minor_count", "num_targets", "targets");
        if (load.GetProperty(matchOn).ValueKind != JsonValueKind.String)
            throw new JsonException($"{path}.table_load.{matchOn}: devices are matched on it, so a pattern is expected.");

        return new DeviceMapperRule(
            name,
            Truth(rule, "required", path),
            Truth(rule, "device_resume_required", path),
            DeviceMapperReference.Read(rename.GetProperty("valid_name"), $"{path}.device_rename.valid_name"),
            DeviceMapperReference.Read(rename.GetProperty("valid_uuid"), $"{path}.device_rename.valid_uuid"),
            Truth(remove, "allow_removal", $"{path}.device_remove"),
            Truth(rule, "allow_clear", path),
            Truth(load, "allow_multiple_loads", $"{path}.table_load"),
            [.. DeviceFields.Select(field => KeyValuePair.Create(field, DeviceMapperReference.Read(load.GetProperty(field), $"{path}.table_load.{field}")))],
            ReadTargets(load, $"{path}.table_load"));
    }

    private static ImmutableArray<ImmutableArray<KeyValuePair<string, DeviceMapperReference>>> ReadTargets(JsonElement load, string path)
    {
        var targets = load.GetProperty("targets");
        Expect(targets, JsonValueKind.Array, $"{path}.targets");
        if (load.GetProperty("num_targets") is not { ValueKind: JsonValueKind.Number } count || !count.TryGetInt32(out var number) || number != targets.GetArrayLength()
            || number is < 1 or > DeviceMapperReader.MaxTargets)
        {
            throw new JsonException($"{path}.num_targets: the number of targets in the list is expected, 1 to {DeviceMapperReader.MaxTargets}: a row that nobody looks at would be any row.");
        }

        var all = ImmutableArray.CreateBuilder<ImmutableArray<KeyValuePair<string, DeviceMapperReference>>>(number);
        foreach (var target in targets.EnumerateArray())
        {
            var at = $"{path}.targets[{all.Count}]";
            Expect(target, JsonValueKind.Object, at);
            var attributes = ImmutableArray.CreateBuilder<KeyValuePair<string, DeviceMapperReference>>();
            foreach (var attribute in target.EnumerateObject())
            {
                if (attributes.Count == MaxAttributes)
                    throw new JsonException($"{at}: more than {MaxAttributes} attributes.");
                attributes.Add(KeyValuePair.Create(attribute.Name, DeviceMapperReference.Read(attribute.Value, $"{at}.{attribute.Name}")));
            }

            all.Add(attributes.ToImmutable());
        }

        return all.ToImmutable();
    }

    private static bool Truth(JsonElement of, string member, string path) => of.GetProperty(member).ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        var other => throw new JsonException($"{path}.{member}: {other} found, true or false expected."),
    };

    private static void ExpectMembers(JsonElement element, string path, params ReadOnlySpan<string> members)
    {
        Expect(element, JsonValueKind.Object, path);
        foreach (var member in members)
        {
            if (!element.TryGetProperty(member, out _))
                throw new JsonException($"{path}.{member}: the member is missing.");
        }

        foreach (var member in element.EnumerateObject())
        {
            if (!members.Contains(member.Name))
                throw new JsonException($"{path}.{member.Name}: no such member; {string.Join(", ", members.ToArray())} are expected.");
        }
    }

    private static void Expect(JsonElement element, JsonValueKind kind, string path)
    {
        if (element.ValueKind != kind)
            throw new JsonException($"{path}: {element.ValueKind} found, {kind} expected.");
    }
}
