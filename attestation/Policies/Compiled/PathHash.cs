using System.Buffers.Binary;
using System.Numerics;

namespace Keylime.Attestation;

/// <summary>
/// The hash by which paths are filed, the same on every machine. Not a cryptographic one: the operator chooses what is in a table, an attacker only what is looked up, and paths
/// are compared whole.
/// </summary>
internal static class PathHash
{
    public static ulong Compute(ReadOnlySpan<byte> path)
    {
        unchecked
        {
            var hash = 0x9E3779B97F4A7C15UL ^ (ulong)path.Length;
            while (path.Length >= sizeof(ulong))
            {
                hash = Mix(hash ^ BinaryPrimitives.ReadUInt64LittleEndian(path));
                path = path[sizeof(ulong)..];
            }

            ulong tail = 0;
            foreach (var b in path)
                tail = tail << 8 | b;
            hash = Mix(hash ^ tail);
            return hash ^ hash >> 32;
        }

        static ulong Mix(ulong value) => unchecked(BitOperations.RotateLeft(value * 0xD6E8FEB86659FD93UL, 32) * 0xD6E8FEB86659FD93UL);
    }

    /// <summary>The bits that say nothing of the bucket.</summary>
    public static byte Tag(ulong hash) => (byte)(hash >> 56);
}
