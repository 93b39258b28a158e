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
    /// <summary>The header's <c>typ</c>.</summary>
    public const string Type = "keylime-notice";

    /// <summary>Characters of the whole; the largest notice has less than half of it.</summary>
    public const int MaxLength = 8 * 1024;

    private const string Algorithm = "ES256";
    private const int SignatureSize = 64;

    /// <summary>What is to be signed: header and payload, each in base64url, with a dot between them.</summary>
    /// <param name="keyVersion">Of the key that will sign.</param>
    public static string SigningInput(Notice notice, string keyVersion)
    {
        var header = JsonSerializer.SerializeToUtf8Bytes(new NoticeHeader(Algorithm, Type, keyVersion), NoticeJson.Default.NoticeHeader);
        return $"{Base64Url.EncodeToString(header)}.{Base64Url.EncodeToString(JsonSerializer.SerializeToUtf8Bytes(notice, NoticeJson.Default.Notice))}";
    }

    /// <param name="signature">r and s, 32 bytes each.</param>
    public static string Join(string signingInput, ReadOnlySpan<byte> signature) => $"{signingInput}.{Base64Url.EncodeToString(signature)}";

    /// <summary>Opens what one of the keys signed. Only then is anything of the payload looked at.</summary>
    /// <param name="keys">P-256, each of which counts.</param>
    /// <param name="json">The payload as it was signed.</param>
    public static bool TryOpen(
        string text, IReadOnlyList<ECDsa> keys, [NotNullWhen(true)] out Notice? notice, [NotNullWhen(true)] out byte[]? json, [NotNullWhen(false)] out string? why)
    {
        (notice, json) = (null, null);
        if (text.Length > MaxLength || text.Split('.') is not [var header, var payload, var signature])
            return Not($"three parts, {MaxLength} characters at most, are expected", out why);
        if (!TryDecode(header, out var headerBytes) || !TryDecode(payload, out var payloadBytes) || !TryDecode(signature, out var signatureBytes))
            return Not("a part is no base64url", out why);
        if (!TryRead(headerBytes, NoticeJson.Default.NoticeHeader, out var head) || head is not { Alg: Algorithm, Typ: Type, Crit: null })
            return Not($"its header does not say {Algorithm} and {Type}", out why);

        var signed = Encoding.ASCII.GetBytes($"{header}.{payload}");
        if (signatureBytes.Length != SignatureSize || !keys.Any(key => key.VerifyData(signed, signatureBytes, HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation)))
            return Not("none of the keys that are known here signed it", out why);
        if (!TryRead(payloadBytes, NoticeJson.Default.Notice, out notice) || notice.Number < 1)
            return Not("it is signed, and no notice", out why);
        (json, why) = (payloadBytes, null);
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

    private static bool TryRead<T>(byte[] json, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type, [NotNullWhen(true)] out T? value)
        where T : class
    {
        try
        {
            value = JsonSerializer.Deserialize(json, type);
        }
        catch (JsonException)
        {
            value = null;
        }

        return value is not null;
    }
}
