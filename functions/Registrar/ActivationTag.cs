using System.Security.Cryptography;
using System.Text;
using Keylime.Protocol;

namespace Keylime.Functions.Registrar;

/// <summary>
/// What an agent answers a credential with: HMAC-SHA384 of its id, under the ASCII bytes of the base64 text of the secret
/// (keylime-wire 1.6). Only the hash of the tag is kept: neither a copy of the table nor an answer of ours tells it.
/// </summary>
internal static class ActivationTag
{
    /// <summary>SHA-256 of the tag that the secret makes.</summary>
    public static byte[] Hash(string secret, AgentId agent)
    {
        var key = Encoding.ASCII.GetBytes(Convert.ToBase64String(Encoding.ASCII.GetBytes(secret)));
        return SHA256.HashData(HMACSHA384.HashData(key, Encoding.UTF8.GetBytes(agent.ToString())));
    }

    /// <summary>True if this is the tag that <paramref name="expected"/> is the hash of.</summary>
    public static bool Matches(string tag, ReadOnlySpan<byte> expected)
    {
        Span<byte> bytes = stackalloc byte[HMACSHA384.HashSizeInBytes];
        return tag.Length == bytes.Length * 2
            && Convert.FromHexString(tag, bytes, out _, out _) == System.Buffers.OperationStatus.Done
            && CryptographicOperations.FixedTimeEquals(SHA256.HashData(bytes), expected);
    }
}
