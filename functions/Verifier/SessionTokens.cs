using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Verifier;

/// <summary>Bearer tokens: <c>session id . secret</c>. 256 random bits need no slow hash.</summary>
internal static class SessionTokens
{
    private const int SecretSize = 32;
    private static readonly TimeSpan Shortest = TimeSpan.FromSeconds(180);

    public static string Create(SessionId session) => $"{session.Text}.{Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(SecretSize))}";

    public static byte[] Hash(string token) => SHA256.HashData(Encoding.UTF8.GetBytes(token));

    public static bool Matches(string token, ReadOnlySpan<byte> hash) => CryptographicOperations.FixedTimeEquals(Hash(token), hash);

    /// <summary>How long a token lives from its proof, or from a passed attestation: over some missed ones, so that they cost no new proof.</summary>
    public static DateTimeOffset ExpiresAt(Node node, DateTimeOffset now)
    {
        var lifetime = TimeSpan.FromSeconds(3L * node.IntervalSeconds);
        return now + (lifetime > Shortest ? lifetime : Shortest);
    }
}
