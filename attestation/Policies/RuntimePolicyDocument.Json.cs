using System.Text.Encodings.Web;
using System.Text.Json;

namespace Keylime.Attestation;

/// <summary>The document's text.</summary>
public sealed partial class RuntimePolicyDocument
{
    // No HTML is made of it: a path with + or é stays one to read.
    private static readonly JsonWriterOptions Form = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>JSON that depends on nothing but the content: members in a fixed order, names in ordinal order.</summary>
    public byte[] Write()
    {
        using var text = new MemoryStream();
        using (var json = new Utf8JsonWriter(text, Form))
        {
            json.WriteStartObject();
            json.WriteStartObject("meta");
            json.WriteNumber("version", Version);
            json.WriteNumber("generator", Generator);
            if (Timestamp is not null)
                json.WriteString("timestamp", Timestamp);
            WriteUnknown(json, "$.meta.");
            json.WriteEndObject();
            json.WriteNumber("release", Release);
            WriteLists(json, "digests", Digests);
            WriteStrings(json, "excludes", Excludes);
            WriteLists(json, "keyrings", Keyrings);
            WriteIma(json);
            WriteLists(json, "ima-buf", Buffers);
            json.WriteString("verification-keys", VerificationKeys);
            WriteViolations(json, Violations);
            WriteClassRules(json);
            WriteUnknown(json, "$.");
            json.WriteEndObject();
        }

        text.WriteByte((byte)'\n');
        return text.ToArray();
    }

    /// <summary>Only the members of a fragment that have something in them.</summary>
    internal byte[] WriteAdditions()
    {
        using var text = new MemoryStream();
        using (var json = new Utf8JsonWriter(text, Form))
        {
            json.WriteStartObject();
            foreach (var (name, lists) in (ReadOnlySpan<(string, SortedDictionary<string, SortedSet<string>>)>)[("digests", Digests), ("keyrings", Keyrings), ("ima-buf", Buffers)])
            {
                if (lists.Count > 0)
                    WriteLists(json, name, lists);
            }

            WriteViolations(json, Violations);
            json.WriteEndObject();
        }

        text.WriteByte((byte)'\n');
        return text.ToArray();
    }

    private static void WriteLists(Utf8JsonWriter json, string member, SortedDictionary<string, SortedSet<string>> lists)
    {
        json.WriteStartObject(member);
        foreach (var (name, digests) in lists)
            WriteStrings(json, name, digests);
        json.WriteEndObject();
    }

    private static void WriteStrings(Utf8JsonWriter json, string member, IEnumerable<string> strings)
    {
        json.WriteStartArray(member);
        foreach (var text in strings)
            json.WriteStringValue(text);
        json.WriteEndArray();
    }

    private void WriteIma(Utf8JsonWriter json)
    {
        json.WriteStartObject("ima");
        WriteStrings(json, "ignored_keyrings", IgnoredKeyrings);
        json.WriteString("log_hash_alg", LogHash);
        json.WritePropertyName("dm_policy");
        if (DeviceMapper is { } devices)
            devices.WriteTo(json);
        else
            json.WriteNullValue();
        WriteUnknown(json, "$.ima.");
        json.WriteEndObject();
    }

    private static void WriteViolations(Utf8JsonWriter json, ViolationRules? violations)
    {
        if (violations is null)
            return;
        json.WriteStartObject("violations");
        json.WriteNumber("budget", violations.Budget);
        WriteStrings(json, "paths", violations.Paths);
        json.WriteEndObject();
    }

    private void WriteClassRules(Utf8JsonWriter json)
    {
        if (ClassRules.Count == 0)
            return;
        json.WriteStartObject("class-rules");
        foreach (var (name, rule) in ClassRules)
        {
            json.WriteStartObject(name);
            json.WriteString("mode", rule.Mode);
            if (rule.Reason is not null)
                json.WriteString("reason", rule.Reason);
            json.WriteEndObject();
        }

        json.WriteEndObject();
    }

    private void WriteUnknown(Utf8JsonWriter json, string prefix)
    {
        foreach (var (path, value) in Unknown)
        {
            if (OwnerOf(path) != prefix)
                continue;
            json.WritePropertyName(path[prefix.Length..]);
            value.WriteTo(json);
        }
    }

    // A member's own name may have dots: $.meta and $.ima are the only objects in which unknown members are kept.
    private static string OwnerOf(string path) =>
        path.StartsWith("$.meta.", StringComparison.Ordinal) ? "$.meta." : path.StartsWith("$.ima.", StringComparison.Ordinal) ? "$.ima." : "$.";
}
