using System.Text.Json;
using Keylime.Attestation;

namespace Keylime.Tenant;

/// <summary>
/// Which package a policy's files are of: the policy's own member <c>provenance</c>, <c>{"bash": {"version": "5.2-1", "origin": "dpkg amd64", "files": ["/usr/bin/bash"]}}</c>.
/// Upstream passes over members that it does not know. Nothing is allowed for its sake.
/// </summary>
internal sealed class Provenance
{
    private const string Member = "$.provenance";

    private readonly SortedDictionary<string, (string Version, string Origin, SortedSet<string> Files)> _packages = new(StringComparer.Ordinal);

    public int Packages => _packages.Count;

    /// <summary>What a policy's text has; nothing if it has none, or one of another shape.</summary>
    public static Provenance Of(RuntimePolicyDocument document)
    {
        var read = new Provenance();
        if (!document.Unknown.TryGetValue(Member, out var json) || json.ValueKind != JsonValueKind.Object)
            return read;
        foreach (var package in json.EnumerateObject())
        {
            if (package.Value.ValueKind != JsonValueKind.Object)
                continue;
            read.Add(package.Name, Text(package.Value, "version"), Text(package.Value, "origin"));
            if (package.Value.TryGetProperty("files", out var files) && files.ValueKind == JsonValueKind.Array)
            {
                foreach (var file in files.EnumerateArray().Where(static f => f.ValueKind == JsonValueKind.String))
                    read.AddFile(package.Name, file.GetString()!);
            }
        }

        return read;
    }

    /// <summary>Of two versions of a package the files are united, and both versions stand there.</summary>
    public void Add(string package, string version, string origin)
    {
        if (!_packages.TryGetValue(package, out var known))
            _packages[package] = (version, origin, new SortedSet<string>(StringComparer.Ordinal));
        else
            _packages[package] = (Join(known.Version, version), Join(known.Origin, origin), known.Files);
    }

    public void AddFile(string package, string path) => _packages[package].Files.Add(path);

    public void WriteTo(RuntimePolicyDocument document)
    {
        foreach (var empty in _packages.Where(static p => p.Value.Files.Count == 0).Select(static p => p.Key).ToArray())
            _packages.Remove(empty);
        if (_packages.Count == 0)
            return;

        using var text = new MemoryStream();
        using (var json = new Utf8JsonWriter(text))
        {
            json.WriteStartObject();
            foreach (var (name, (version, origin, files)) in _packages)
            {
                json.WriteStartObject(name);
                json.WriteString("version", version);
                json.WriteString("origin", origin);
                json.WriteStartArray("files");
                foreach (var file in files)
                    json.WriteStringValue(file);
                json.WriteEndArray();
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        using var parsed = JsonDocument.Parse(text.ToArray());
        document.Unknown[Member] = parsed.RootElement.Clone();
    }

    private static string Join(string known, string more) => known.Split(", ").Contains(more) ? known : $"{known}, {more}";

    private static string Text(JsonElement of, string name) =>
        of.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString()! : "";
}
