using System.Text.Json;

namespace Keylime.Attestation;

/// <summary>Reads upstream's keyring JSON (keylime/ima/file_signatures.py has its schema), to the letter: a key that cannot be read is no key that was left out.</summary>
internal static class KeyringReader
{
    /// <summary>The longest text, in characters.</summary>
    public const int MaxLength = 4 * 1024 * 1024;

    /// <exception cref="JsonException">It is no keyring.</exception>
    public static Keyring Read(string json)
    {
        if (json.Length > MaxLength)
            throw new JsonException($"{json.Length} characters, {MaxLength} at most.");

        using var document = JsonDocument.Parse(json, new JsonDocumentOptions { AllowDuplicateProperties = false, MaxDepth = 16 });
        var root = document.RootElement;
        Expect(root, JsonValueKind.Object, "$", "an object with keyids and pubkeys");
        if (root.TryGetProperty("meta", out var meta))
        {
            Expect(meta, JsonValueKind.Object, "$.meta", "an object");
            if (!meta.TryGetProperty("version", out var version) || version.ValueKind != JsonValueKind.Number || !version.TryGetInt32(out var number) || number < 1)
                throw new JsonException("$.meta.version: a whole number from 1 is expected.");
        }

        var ids = Member(root, "keyids");
        var keys = Member(root, "pubkeys");
        if (keys.GetArrayLength() > Keyring.MaxKeys)
            throw new JsonException($"$.pubkeys: {keys.GetArrayLength()} keys, {Keyring.MaxKeys} at most.");
        if (ids.GetArrayLength() > keys.GetArrayLength())
            throw new JsonException($"$.keyids: {ids.GetArrayLength()} ids for {keys.GetArrayLength()} keys.");

        var ring = Keyring.Empty;
        for (var i = 0; i < keys.GetArrayLength(); i++)
            ring = ring.Add(ReadKey(keys[i], ids, i));
        return ring;
    }

    private static ImaKey ReadKey(JsonElement text, JsonElement ids, int i)
    {
        if (text.ValueKind != JsonValueKind.String || !text.TryGetBytesFromBase64(out var der))
            throw new JsonException($"$.pubkeys[{i}]: base64 of a public key's DER is expected.");
        if (!VerificationKey.TryCreate(der, out var key, out var error))
            throw new JsonException($"$.pubkeys[{i}]: {error}.");
        if (i >= ids.GetArrayLength())
            return new ImaKey(key, ImaKey.IdOf(key));

        // As upstream has it, an id that is named wins over the computed one (a certificate's), and 0 stands for none.
        return ids[i].ValueKind == JsonValueKind.Number && ids[i].TryGetUInt32(out var id)
            ? new ImaKey(key, id == 0 ? ImaKey.IdOf(key) : id)
            : throw new JsonException($"$.keyids[{i}]: a whole number of 32 bits is expected.");
    }

    private static JsonElement Member(JsonElement root, string name)
    {
        if (!root.TryGetProperty(name, out var member))
            throw new JsonException($"$.{name}: the member is missing.");
        Expect(member, JsonValueKind.Array, $"$.{name}", "an array");
        return member;
    }

    private static void Expect(JsonElement element, JsonValueKind kind, string path, string expected)
    {
        if (element.ValueKind != kind)
            throw new JsonException($"{path}: {element.ValueKind} found, {expected} expected.");
    }
}
