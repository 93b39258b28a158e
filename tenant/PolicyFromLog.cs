using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Keylime.Tenant;

/// <summary>Makes a runtime policy in Keylime's JSON out of a measurement list: each path with the digests that were measured of it.</summary>
internal static class PolicyFromLog
{
    private const int GeneratorUnknown = 0; // of Keylime's own list of generators, none is this one

    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    /// <exception cref="CliException">It is no list of <c>ima-ng</c> or <c>ima-sig</c> lines.</exception>
    public static (byte[] Json, IReadOnlyList<string> Warnings) Make(ReadOnlySpan<byte> log, IReadOnlyList<string> excludes, DateTimeOffset now)
    {
        var digests = new SortedDictionary<string, SortedSet<string>>(StringComparer.Ordinal);
        var warnings = new List<string>();
        string? logHash = null;
        for (var number = 0; !log.IsEmpty; number++)
        {
            var end = log.IndexOf((byte)'\n');
            var line = end < 0 ? log : log[..end];
            log = end < 0 ? default : log[(end + 1)..];
            Take(line, number, digests, warnings, ref logHash);
        }

        if (digests.Count == 0)
            throw new CliException(Exits.Usage, "the list has no line that a policy can allow", "it is found at /sys/kernel/security/ima/ascii_runtime_measurements");
        return (Write(digests, excludes, logHash ?? "sha1", now), warnings);
    }

    private static void Take(
        ReadOnlySpan<byte> line, int number, SortedDictionary<string, SortedSet<string>> digests, List<string> warnings, ref string? logHash)
    {
        // PCR, template hash, template, algorithm:digest, path; and the signature behind the path where the template has one
        var path = line;
        _ = NextField(ref path, number);
        var hash = NextField(ref path, number);
        var template = NextField(ref path, number);
        var digest = NextField(ref path, number);
        logHash ??= hash.Length switch { 40 => "sha1", 64 => "sha256", 96 => "sha384", 128 => "sha512", _ => throw Wrong(number, "its template hash is of no length that is known") };
        if (template.SequenceEqual("ima-sig"u8))
            path = path.LastIndexOf((byte)' ') is >= 0 and var space ? path[..space] : path;
        else if (!template.SequenceEqual("ima-ng"u8))
            throw Wrong(number, "only ima-ng and ima-sig are known");

        if (hash.IndexOfAnyExcept((byte)'0') < 0)
        {
            warnings.Add(string.Create(CultureInfo.InvariantCulture, $"line {number} is a violation: no digest is known, so none is allowed"));
            return;
        }

        var colon = digest.IndexOf((byte)':');
        if (colon <= 0)
            throw Wrong(number, "algorithm:digest is expected in its fourth field");
        try
        {
            var name = StrictUtf8.GetString(path);
            if (!digests.TryGetValue(name, out var known))
                digests[name] = known = [];
            known.Add(Encoding.ASCII.GetString(digest[(colon + 1)..]));
        }
        catch (DecoderFallbackException)
        {
            warnings.Add(string.Create(CultureInfo.InvariantCulture, $"line {number}: its path is no UTF-8, and JSON cannot name it: it is not allowed"));
        }
    }

    private static ReadOnlySpan<byte> NextField(ref ReadOnlySpan<byte> rest, int number)
    {
        var end = rest.IndexOf((byte)' ');
        if (end <= 0)
            throw Wrong(number, "five fields are expected");
        var field = rest[..end];
        rest = rest[(end + 1)..];
        return field;
    }

    private static byte[] Write(SortedDictionary<string, SortedSet<string>> digests, IReadOnlyList<string> excludes, string logHash, DateTimeOffset now)
    {
        using var output = new MemoryStream();
        using (var json = new Utf8JsonWriter(output, new JsonWriterOptions { Indented = true }))
        {
            json.WriteStartObject();
            json.WriteStartObject("meta");
            json.WriteNumber("version", 1);
            json.WriteNumber("generator", GeneratorUnknown);
            json.WriteString("timestamp", now.UtcDateTime.ToString("s", CultureInfo.InvariantCulture));
            json.WriteEndObject();
            json.WriteNumber("release", 0);
            json.WriteStartObject("digests");
            foreach (var (path, allowed) in digests)
                WriteStrings(json, path, allowed);
            json.WriteEndObject();
            WriteStrings(json, "excludes", excludes);
            json.WriteStartObject("keyrings");
            json.WriteEndObject();
            json.WriteStartObject("ima");
            WriteStrings(json, "ignored_keyrings", []);
            json.WriteString("log_hash_alg", logHash);
            json.WriteNull("dm_policy");
            json.WriteEndObject();
            json.WriteStartObject("ima-buf");
            json.WriteEndObject();
            json.WriteString("verification-keys", "");
            json.WriteEndObject();
        }

        output.WriteByte((byte)'\n');
        return output.ToArray();
    }

    private static void WriteStrings(Utf8JsonWriter json, string name, IEnumerable<string> values)
    {
        json.WriteStartArray(name);
        foreach (var value in values)
            json.WriteStringValue(value);
        json.WriteEndArray();
    }

    private static CliException Wrong(int number, string what) =>
        new(Exits.Usage, string.Create(CultureInfo.InvariantCulture, $"line {number} of the list (counted from 0): {what}"), "an ASCII list of IMA is expected");
}
