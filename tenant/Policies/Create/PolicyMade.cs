using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;

namespace Keylime.Tenant;

/// <summary>What a policy that was made has in it, for whoever made it.</summary>
internal static class PolicyMade
{
    public static void Write(Surroundings surroundings, bool isJson, string path, byte[] json, PolicyDraft draft)
    {
        var document = draft.Document;
        var digests = document.Digests.Values.Sum(static d => (long)d.Count);
        var sha256 = Convert.ToHexStringLower(SHA256.HashData(json));
        if (!isJson)
        {
            var packages = draft.Provenance.Packages is > 0 and var count ? string.Create(CultureInfo.InvariantCulture, $", files of {count:N0} packages") : "";
            surroundings.Out.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"{PlainText.From(path)}: {document.Digests.Count:N0} paths, {digests:N0} digests, {document.Excludes.Count:N0} excludes{packages}, SHA-256 {sha256}"));
            return;
        }

        using var text = new MemoryStream();
        using (var writer = new Utf8JsonWriter(text))
        {
            writer.WriteStartObject();
            writer.WriteString("file", path);
            writer.WriteString("sha256", sha256);
            writer.WriteNumber("paths", document.Digests.Count);
            writer.WriteNumber("digests", digests);
            writer.WriteNumber("excludes", document.Excludes.Count);
            writer.WriteNumber("keyrings", document.Keyrings.Count);
            writer.WriteNumber("packages", draft.Provenance.Packages);
            writer.WriteStartArray("warnings");
            foreach (var note in draft.Notes)
                writer.WriteStringValue(note);
            writer.WriteEndArray();
            writer.WriteEndObject();
        }

        surroundings.Out.WriteLine(System.Text.Encoding.UTF8.GetString(text.ToArray()));
    }
}
