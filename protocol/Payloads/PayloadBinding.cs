using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Keylime.Protocol.Payloads;

/// <summary>
/// What is sealed to a TPM for one release: the payload's key and behind it a digest of what the key is for. An answer that was recorded, or that belongs to
/// another payload, has another digest.
/// </summary>
public static class PayloadBinding
{
    /// <summary>Of a key, in bytes.</summary>
    public const int KeySize = 32;

    /// <summary>Of an agent's challenge, in bytes.</summary>
    public const int ChallengeSize = 32;

    /// <summary>Of what is sealed, in bytes.</summary>
    public const int SealedSize = KeySize + SHA256.HashSizeInBytes;

    /// <summary>SHA-256 over label, challenge, node, name, version and the parts' digests; each text with its length in front.</summary>
    /// <param name="parts">Digests, in hex, in order.</param>
    public static byte[] Digest(ReadOnlySpan<byte> challenge, AgentId node, string name, long version, IEnumerable<string> parts)
    {
        ArgumentNullException.ThrowIfNull(parts);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Append("keylime payload release 1"u8);
        Append(challenge);
        Append(Encoding.ASCII.GetBytes(node.ToString()));
        Append(Encoding.ASCII.GetBytes(name));
        Span<byte> number = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64BigEndian(number, version);
        Append(number);
        foreach (var part in parts)
            Append(Encoding.ASCII.GetBytes(part));
        return hash.GetHashAndReset();

        void Append(ReadOnlySpan<byte> bytes)
        {
            Span<byte> length = stackalloc byte[sizeof(int)];
            BinaryPrimitives.WriteInt32BigEndian(length, bytes.Length);
            hash.AppendData(length);
            hash.AppendData(bytes);
        }
    }
}
