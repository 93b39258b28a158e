using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Keylime.Functions.Notifications;

/// <summary>
/// Standard Webhooks 1.0: secrets, and the headers that sign a request. Id, time and body are signed together, so that a message can be neither altered
/// nor sent again later.
/// </summary>
internal static class StandardWebhooks
{
    private const string SecretPrefix = "whsec_";
    private const int SecretSize = 32;

    /// <summary>What <see cref="TryReadSecret"/> expects, for errors.</summary>
    public const string ExpectedSecret = "whsec_ and the base64 of 24 to 64 bytes are expected.";

    public static byte[] MakeSecret() => RandomNumberGenerator.GetBytes(SecretSize);

    public static string WriteSecret(byte[] secret) => SecretPrefix + Convert.ToBase64String(secret);

    /// <param name="secret"><see langword="null"/> where there is no text.</param>
    public static bool TryReadSecret(string? text, out byte[]? secret)
    {
        secret = null;
        if (text is null)
            return true;
        var bytes = new byte[text.Length];
        if (!text.StartsWith(SecretPrefix, StringComparison.Ordinal) || !Convert.TryFromBase64String(text[SecretPrefix.Length..], bytes, out var length) || length is < 24 or > 64)
            return false;
        secret = bytes[..length];
        return true;
    }

    /// <summary>Signs a request with each of the secrets: the receiver takes the message if it knows one of them.</summary>
    /// <param name="id">Without a dot.</param>
    public static void Sign(HttpRequestMessage request, string id, DateTimeOffset now, ReadOnlySpan<byte> body, params IEnumerable<byte[]> secrets)
    {
        var time = now.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);
        byte[] signed = [.. Encoding.ASCII.GetBytes($"{id}.{time}."), .. body];
        request.Headers.Add("webhook-id", id);
        request.Headers.Add("webhook-timestamp", time);
        request.Headers.Add("webhook-signature", string.Join(' ', secrets.Select(secret => "v1," + Convert.ToBase64String(HMACSHA256.HashData(secret, signed)))));
    }
}
