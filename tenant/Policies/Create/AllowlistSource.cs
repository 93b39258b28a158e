using System.Globalization;
using System.Text;
using System.Text.Json;
using Keylime.Attestation;

namespace Keylime.Tenant;

/// <summary>
/// Lists of checksums: Keylime's allow-lists (<c>DIGEST  PATH</c>, of a key <c>DIGEST  %keyring:NAME</c>; or their JSON, with <c>hashes</c>), runtime policies, and what
/// sha256sum and its like print.
/// </summary>
internal static class AllowlistSource
{
    private const string Keyring = "%keyring:";

    /// <exception cref="CliException">A line or member is of another shape.</exception>
    public static void Add(PolicyDraft draft, string name, byte[] list)
    {
        var text = list.AsSpan().StartsWith(Encoding.UTF8.Preamble) ? list.AsMemory(3) : list;
        var start = text.Span.IndexOfAnyExcept(" \t\r\n"u8);
        if (start >= 0 && text.Span[start] == '{')
            AddJson(draft, name, text);
        else
            AddLines(draft, name, text);
    }

    private static void AddLines(PolicyDraft draft, string name, ReadOnlyMemory<byte> list)
    {
        var (number, any) = (0, false);
        while (!list.IsEmpty)
        {
            number++;
            var end = list.Span.IndexOf((byte)'\n');
            var bytes = end < 0 ? list.Span : list.Span[..end];
            list = end < 0 ? default : list[(end + 1)..];
            var line = Text(bytes, name, number).TrimEnd('\r');
            if (line.Length == 0 || line[0] == '#')
                continue;
            var (digest, path) = Cut(line) ?? throw Wrong(name, number, "a digest in hex, a space and a path are expected");
            AddLine(draft, name, number, digest, path);
            any = true;
        }

        if (!any)
            throw new CliException(Exits.Usage, PlainText.From($"{name} has no line"), "lines of DIGEST  PATH are expected");
    }

    private static void AddLine(PolicyDraft draft, string name, int number, string digest, string path)
    {
        if (digest.Length is not (40 or 48 or 56 or 64 or 80 or 96 or 128) || !digest.All(char.IsAsciiHexDigit))
            throw Wrong(name, number, "a digest of 40 to 128 hex digits is expected in front of the path");
        digest = digest.ToLowerInvariant();
        if (path.StartsWith(Keyring, StringComparison.Ordinal))
            draft.Document.AllowKey(path.Length > Keyring.Length ? path[Keyring.Length..] : throw Wrong(name, number, "a keyring's name is expected"), digest);
        else
            draft.AllowFile(path.StartsWith("./", StringComparison.Ordinal) ? path[1..] : path, digest);
    }

    // "DIGEST  PATH", "DIGEST *PATH", "\DIGEST  PATH" with escapes, "SHA256 (PATH) = DIGEST"
    private static (string Digest, string Path)? Cut(string line)
    {
        if (line.IndexOf(" (", StringComparison.Ordinal) is > 0 and < 12 and var open && line.LastIndexOf(") = ", StringComparison.Ordinal) is var close && close > open + 2)
            return (line[(close + 4)..], line[(open + 2)..close]);

        var isEscaped = line[0] == '\\';
        var space = line.IndexOf(' ', StringComparison.Ordinal);
        if (space < 1)
            return null;
        var digest = line[(isEscaped ? 1 : 0)..space];
        var path = line[(space + 1)..];
        if (path is [' ' or '*', ..])
            path = path[1..];
        if (isEscaped)
            path = path.Replace("\\n", "\n", StringComparison.Ordinal).Replace("\\\\", "\\", StringComparison.Ordinal);
        return path.Length == 0 ? null : (digest, path);
    }

    private static void AddJson(PolicyDraft draft, string name, ReadOnlyMemory<byte> text)
    {
        try
        {
            using var json = JsonDocument.Parse(text);
            if (!json.RootElement.TryGetProperty("hashes", out var hashes))
            {
                AddPolicy(draft, name, text);
                return;
            }

            foreach (var file in Members(hashes))
            {
                foreach (var digest in file.Value.EnumerateArray())
                    draft.Allow(file.Name, digest.GetString()!.ToLowerInvariant());
            }

            if (json.RootElement.TryGetProperty("keyrings", out var keyrings))
            {
                foreach (var keyring in Members(keyrings))
                {
                    foreach (var digest in keyring.Value.EnumerateArray())
                        draft.Document.AllowKey(keyring.Name, digest.GetString()!.ToLowerInvariant());
                }
            }

            if (json.RootElement.TryGetProperty("ima", out var ima) && ima.TryGetProperty("ignored_keyrings", out var ignored))
                draft.Document.IgnoredKeyrings.UnionWith(ignored.EnumerateArray().Select(static k => k.GetString()!));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException)
        {
            throw new CliException(Exits.Usage, PlainText.From($"{name}: {e.Message}"), "an allow-list's JSON has hashes (path to digests), and perhaps keyrings and ima");
        }
    }

    private static void AddPolicy(PolicyDraft draft, string name, ReadOnlyMemory<byte> text)
    {
        if (!RuntimePolicyDocument.TryParse(text, out var policy, out var error) || policy.Digests.Count + policy.Keyrings.Count == 0)
            throw new CliException(Exits.Usage, PlainText.From($"{name}: {error ?? "neither hashes nor digests are there"}"), "an allow-list or a runtime policy is expected");
        foreach (var (path, digests) in policy.Digests)
        {
            foreach (var digest in digests)
                draft.Allow(path, digest);
        }

        foreach (var (keyring, digests) in policy.Keyrings)
        {
            foreach (var digest in digests)
                draft.Document.AllowKey(keyring, digest);
        }
    }

    private static JsonElement.ObjectEnumerator Members(JsonElement value) => value.EnumerateObject();

    private static string Text(ReadOnlySpan<byte> bytes, string name, int number)
    {
        try
        {
            return new UTF8Encoding(false, true).GetString(bytes);
        }
        catch (DecoderFallbackException)
        {
            throw Wrong(name, number, "UTF-8 is expected");
        }
    }

    private static CliException Wrong(string name, int number, string expected) => new(
        Exits.Usage, PlainText.From(string.Create(CultureInfo.InvariantCulture, $"{name}: line {number}: {expected}")), "lines are DIGEST  PATH, DIGEST  %keyring:NAME, or what sha256sum prints");
}
