using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Keylime.Testing;

/// <summary>
/// A receiver's check, written from the text of Standard Webhooks and from none of the service's code: the secret is base64 behind <c>whsec_</c>; what is signed is
/// id, timestamp and body with dots between; signatures stand in a list with spaces between, each with its version; a timestamp too far from now is refused.
/// </summary>
public static class WebhookVerifier
{
    private const string Prefix = "whsec_";
    private static readonly TimeSpan Tolerance = TimeSpan.FromMinutes(5);

    /// <exception cref="FormatException">The secret is none.</exception>
    public static bool Accepts(string secret, IReadOnlyDictionary<string, string> headers, string body, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(secret);
        ArgumentNullException.ThrowIfNull(headers);
        if (!secret.StartsWith(Prefix, StringComparison.Ordinal))
            throw new FormatException($"A secret starts with {Prefix}.");
        var key = Convert.FromBase64String(secret[Prefix.Length..]);
        var (id, timestamp) = (headers["webhook-id"], headers["webhook-timestamp"]);
        var sent = DateTimeOffset.FromUnixTimeSeconds(long.Parse(timestamp, NumberStyles.None, CultureInfo.InvariantCulture));
        if (id.Length == 0 || id.Contains('.', StringComparison.Ordinal) || (now - sent).Duration() > Tolerance)
            return false;

        using var hmac = new HMACSHA256(key);
        var expected = hmac.ComputeHash(Encoding.UTF8.GetBytes($"{id}.{timestamp}.{body}"));
        foreach (var signature in headers["webhook-signature"].Split(' '))
        {
            if (signature.Split(',') is ["v1", var encoded] && CryptographicOperations.FixedTimeEquals(Convert.FromBase64String(encoded), expected))
                return true;
        }

        return false;
    }
}
