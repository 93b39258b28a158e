using System.Security.Cryptography;
using System.Text;

namespace Keylime.Functions.Storage;

/// <summary>Ranges of keys.</summary>
internal static class KeyRanges
{
    /// <summary>The first key behind all that start so.</summary>
    public static string EndOf(string prefix) => prefix[..^1] + (char)(prefix[^1] + 1);
}

/// <summary>Where a row of many stands.</summary>
internal static class Partitions
{
    /// <summary>Two hex digits of the key's SHA-256: 256 ranges, whatever keys look like.</summary>
    public static string Of(string key) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(key)).AsSpan(0, 1));
}
