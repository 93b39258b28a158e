using System.Collections.Immutable;
using System.Text.Json;

namespace Keylime.Attestation;

/// <summary>Reads the JSON of an envelope.</summary>
internal static class DsseReader
{
    private const int MaxType = 255;
    private const int MaxKeyId = 64 * 1024; // a certificate, twice in base64, with its chain
    private const int MaxSignature = 2048;

    /// <exception cref="JsonException">It is none.</exception>
    public static DsseEnvelope Read(JsonElement root)
    {
        if (root.ValueKind != JsonValueKind.Object)
            throw Wrong("$", root, "an object with payload, payloadType and signatures");

        var type = Text(root, "$", "payloadType");
        if (type.Length is 0 or > MaxType || type.AsSpan().ContainsAnyExceptInRange('!', '~'))
            throw new JsonException($"$.payloadType: 1 to {MaxType} characters of ASCII without spaces are expected.");

        var payload = Bytes(root, "$", "payload", int.MaxValue);
        var signatures = Member(root, "$", "signatures");
        if (signatures.ValueKind != JsonValueKind.Array)
            throw Wrong("$.signatures", signatures, "an array");
        if (signatures.GetArrayLength() is var count and (0 or > DsseEnvelope.MaxSignatures))
            throw new JsonException($"$.signatures: {count} signatures; 1 to {DsseEnvelope.MaxSignatures} are expected.");

        var all = ImmutableArray.CreateBuilder<DsseSignature>(signatures.GetArrayLength());
        foreach (var signature in signatures.EnumerateArray())
            all.Add(ReadSignature(signature, $"$.signatures[{all.Count}]"));
        return new DsseEnvelope(type, payload, all.ToImmutable());
    }

    private static DsseSignature ReadSignature(JsonElement signature, string path)
    {
        if (signature.ValueKind != JsonValueKind.Object)
            throw Wrong(path, signature, "an object with sig");

        var keyId = "";
        if (signature.TryGetProperty("keyid", out var id) && id.ValueKind != JsonValueKind.Null)
            keyId = id.ValueKind == JsonValueKind.String ? id.GetString()! : throw Wrong($"{path}.keyid", id, "a string");
        if (keyId.Length > MaxKeyId)
            throw new JsonException($"{path}.keyid: {keyId.Length} characters, {MaxKeyId} at most.");
        return new DsseSignature(keyId, Bytes(signature, path, "sig", MaxSignature));
    }

    // Base64 of either alphabet, padded (envelope.md). Only - and _ tell them apart, so no text has two meanings; hexadecimal, which upstream tries first, would.
    private static byte[] Bytes(JsonElement of, string path, string name, int limit)
    {
        if (Member(of, path, name) is var member && member.ValueKind != JsonValueKind.String)
            throw Wrong($"{path}.{name}", member, "a string of base64");
        if (!member.TryGetBytesFromBase64(out var bytes))
        {
            var text = member.GetString()!;
            if (text.Contains('+', StringComparison.Ordinal) || text.Contains('/', StringComparison.Ordinal) || !TryDecode(text.Replace('-', '+').Replace('_', '/'), out bytes))
                throw new JsonException($"{path}.{name}: base64, padded, is expected.");
        }

        return bytes.Length > 0 && bytes.Length <= limit ? bytes : throw new JsonException($"{path}.{name}: {bytes.Length} bytes; 1 to {limit} are expected.");
    }

    private static bool TryDecode(string base64, out byte[] bytes)
    {
        bytes = new byte[base64.Length / 4 * 3];
        if (!Convert.TryFromBase64String(base64, bytes, out var written))
            return false;
        bytes = bytes[..written];
        return true;
    }

    private static string Text(JsonElement of, string path, string name) =>
        Member(of, path, name) is { ValueKind: JsonValueKind.String } member ? member.GetString()! : throw Wrong($"{path}.{name}", Member(of, path, name), "a string");

    private static JsonElement Member(JsonElement of, string path, string name) =>
        of.TryGetProperty(name, out var member) ? member : throw new JsonException($"{path}.{name}: the member is missing.");

    private static JsonException Wrong(string path, JsonElement found, string expected) => new($"{path}: {found.ValueKind} found, {expected} expected.");
}
