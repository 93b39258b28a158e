using System.Buffers.Text;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Keylime.Protocol.Notices;

/// <summary>
/// A notice and its signature in one text: a JWS in its compact form (RFC 7515, section 7.1) by ES256 (RFC 7518, section 3.4), which any JOSE library verifies. The signature is over the bytes
/// that are sent, so nothing is written anew before it is verified.
/// </summary>
public static class SignedNotice
{
    /// <summary>The header's <c>typ</c>: what the same key signs for other ends is no notice.</summary>
    public const string Type = "keylime-notice";

    /// <summary>Characters of the whole; the largest notice has less than half of it.</summary>
    public const int MaxLength = 8 * 1024;

    private const string Algorithm = "ES256";
    private const int SignatureSize = 64;

    private static readonly JsonDocumentOptions Once = new() { AllowDuplicateProperties = false }; // two readers must not see two things

    /// <summary>What is to be signed: header and payload, each in base64url, with a dot between them.</summary>
    /// <param name="keyVersion">Of the key that will sign; letters and digits. It chooses nothing: whoever verifies knows which keys count.</param>
    public static string SigningInput(Notice notice, string keyVersion)
    {
        var header = $$"""{"alg":"{{Algorithm}}","typ":"{{Type}}","kid":"{{JsonEncodedText.Encode(keyVersion)}}"}""";
        return $"{Base64Url.EncodeToString(Encoding.UTF8.GetBytes(header))}.{Base64Url.EncodeToString(JsonSerializer.SerializeToUtf8Bytes(notice, NoticeJson.Default.Notice))}";
    }

    /// <param name="signature">r and s, 32 bytes each.</param>
    public static string Join(string signingInput, ReadOnlySpan<byte> signature) => $"{signingInput}.{Base64Url.EncodeToString(signature)}";

    /// <summary>Opens what one of the keys signed. Only then is anything of the payload looked at.</summary>
    /// <param name="keys">P-256, each of which counts.</param>
    /// <param name="json">The payload as it was signed.</param>
    public static bool TryOpen(
        string text, IReadOnlyList<ECDsa> keys, out NoticeHead head, [NotNullWhen(true)] out byte[]? json, [NotNullWhen(false)] out string? why)
    {
        (head, json) = (default, null);
        if (text.Length > MaxLength || text.Split('.') is not [var header, var payload, var signature])
            return Not($"three parts, {MaxLength} characters at most, are expected", out why);
        if (!TryDecode(header, out var headerBytes) || !TryDecode(payload, out var payloadBytes) || !TryDecode(signature, out var signatureBytes))
            return Not("a part is no base64url", out why);

        // Extensions that must be understood (RFC 7515, section 4.1.11): none are.
        using var read = Parse(headerBytes);
        if (TextOf(read, "alg") != Algorithm || TextOf(read, "typ") != Type || read!.RootElement.TryGetProperty("crit", out _))
            return Not($"its header does not say {Algorithm} and {Type}", out why);

        var signed = Encoding.ASCII.GetBytes($"{header}.{payload}");
        if (signatureBytes.Length != SignatureSize || !keys.Any(key => key.VerifyData(signed, signatureBytes, HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation)))
            return Not("none of the keys that are known here signed it", out why);
        using var notice = Parse(payloadBytes);
        if (TextOf(notice, "type") is not { } type || TextOf(notice, "node") is not { } node
            || !notice!.RootElement.TryGetProperty("number", out var element) || element.ValueKind != JsonValueKind.Number || !element.TryGetInt64(out var number) || number < 1)
            return Not("it is signed, and no notice", out why);
        (head, json, why) = (new NoticeHead(number, type, node), payloadBytes, null);
        return true;
    }

    private static bool Not(string reason, out string why)
    {
        why = reason;
        return false;
    }

    private static bool TryDecode(string part, [NotNullWhen(true)] out byte[]? bytes)
    {
        bytes = Base64Url.IsValid(part) ? Base64Url.DecodeFromChars(part) : null;
        return bytes is not null;
    }

    private static JsonDocument? Parse(byte[] json)
    {
        try
        {
            return JsonDocument.Parse(json, Once);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static string? TextOf(JsonDocument? document, string name) =>
        document?.RootElement is { ValueKind: JsonValueKind.Object } root && root.TryGetProperty(name, out var element) && element.ValueKind == JsonValueKind.String ? element.GetString() : null;
}
