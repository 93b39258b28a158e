using System.Collections.Immutable;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Keylime.Attestation;

/// <summary>
/// Paths and their allowed digests, packed: a million of them are four arrays and not four million objects, a look-up
/// takes the path's bytes as they stand in the log, and the arrays could be written to a file as they are.
/// </summary>
internal sealed class DigestTable
{
    private readonly int[] _slots;   // entry + 1, or 0; open addressing, a power of two of them, at most half full
    private readonly int[] _starts;  // entry → where its record starts; one more than there are entries
    private readonly byte[] _records; // path length (4), path, then for each digest its length (1) and its bytes

    private DigestTable(int[] slots, int[] starts, byte[] records) => (_slots, _starts, _records) = (slots, starts, records);

    public int Count => _starts.Length - 1;

    /// <returns>The entry, or -1.</returns>
    public int Find(ReadOnlySpan<byte> path)
    {
        for (var slot = (int)(Hash(path) & (uint)(_slots.Length - 1)); _slots[slot] is var entry and not 0; slot = (slot + 1) & (_slots.Length - 1))
        {
            if (PathOf(entry - 1).SequenceEqual(path))
                return entry - 1;
        }

        return -1;
    }

    public bool Contains(int entry, ReadOnlySpan<byte> digest)
    {
        for (var rest = DigestsOf(entry); !rest.IsEmpty; rest = rest[(1 + rest[0])..])
        {
            if (rest.Slice(1, rest[0]).SequenceEqual(digest))
                return true;
        }

        return false;
    }

    /// <summary>Whether the digest is listed for the path. A policy's digests carry no algorithm: their length says it, and the entry's has to agree.</summary>
    /// <param name="algorithm">As the entry names it: <c>sha256</c>; empty for template <c>ima</c>.</param>
    public bool Contains(ReadOnlySpan<byte> path, ReadOnlySpan<byte> algorithm, ReadOnlySpan<byte> digest) =>
        Find(path) is >= 0 and var entry && SizeOf(algorithm, digest.Length) == digest.Length && Contains(entry, digest);

    /// <summary>An entry's digests, as <c>sha256:hex</c>.</summary>
    public ImmutableArray<string> Describe(int entry)
    {
        var digests = ImmutableArray.CreateBuilder<string>();
        for (var rest = DigestsOf(entry); !rest.IsEmpty; rest = rest[(1 + rest[0])..])
            digests.Add($"{NameOf(rest[0])}:{Convert.ToHexStringLower(rest.Slice(1, rest[0]))}");
        return digests.DrainToImmutable();
    }

    /// <summary>For each digest the first path that it is listed for, in one walk through the table.</summary>
    public void FindPaths(ImmutableArray<byte[]> digests, Span<string?> paths)
    {
        for (var entry = 0; entry < Count; entry++)
        {
            for (var rest = DigestsOf(entry); !rest.IsEmpty; rest = rest[(1 + rest[0])..])
            {
                var digest = rest.Slice(1, rest[0]);
                for (var i = 0; i < digests.Length; i++)
                {
                    if (paths[i] is null && digest.SequenceEqual(digests[i]))
                        paths[i] = PrintablePath.From(PathOf(entry));
                }
            }
        }
    }

    private static int SizeOf(ReadOnlySpan<byte> algorithm, int length) =>
        algorithm.SequenceEqual("sha256"u8) ? 32
        : algorithm.IsEmpty ? length
        : KernelHashes.TryFromName(algorithm, out var hash) ? hash.Size() : -1;

    // Of the hashes of one size the one that is met.
    private static string NameOf(int length) => length switch
    {
        16 => "md5",
        20 => "sha1",
        28 => "sha224",
        32 => "sha256",
        48 => "sha384",
        64 => "sha512",
        _ => "hex",
    };

    private ReadOnlySpan<byte> PathOf(int entry)
    {
        var start = _starts[entry];
        return _records.AsSpan(start + sizeof(int), MemoryMarshal.Read<int>(_records.AsSpan(start)));
    }

    private ReadOnlySpan<byte> DigestsOf(int entry)
    {
        var start = _starts[entry];
        var digests = start + sizeof(int) + MemoryMarshal.Read<int>(_records.AsSpan(start));
        return _records.AsSpan(digests, _starts[entry + 1] - digests);
    }

    // Not a cryptographic hash: the operator chooses what is in the table, an attacker only what is looked up.
    private static uint Hash(ReadOnlySpan<byte> path)
    {
        unchecked
        {
            var hash = 0x9E3779B97F4A7C15UL ^ (ulong)path.Length;
            while (path.Length >= sizeof(ulong))
            {
                hash = Mix(hash ^ MemoryMarshal.Read<ulong>(path));
                path = path[sizeof(ulong)..];
            }

            ulong tail = 0;
            foreach (var b in path)
                tail = tail << 8 | b;
            hash = Mix(hash ^ tail);
            return (uint)(hash ^ hash >> 32);
        }

        static ulong Mix(ulong value) => unchecked(BitOperations.RotateLeft(value * 0xD6E8FEB86659FD93UL, 32) * 0xD6E8FEB86659FD93UL);
    }

    /// <summary>Takes paths, each with its digests behind it, and packs them.</summary>
    internal sealed class Builder
    {
        private readonly List<int> _starts = [];
        private byte[] _records = new byte[1024];
        private int _length;

        public int Count => _starts.Count;

        public void AddPath(ReadOnlySpan<byte> path)
        {
            _starts.Add(_length);
            var record = Grow(sizeof(int) + path.Length);
            MemoryMarshal.Write(record, path.Length);
            path.CopyTo(record[sizeof(int)..]);
        }

        /// <summary>Adds a digest to the path added last.</summary>
        public void AddDigest(ReadOnlySpan<byte> digest)
        {
            var record = Grow(1 + digest.Length);
            record[0] = (byte)digest.Length;
            digest.CopyTo(record[1..]);
        }

        /// <returns><see langword="null"/> if a path was added twice.</returns>
        public DigestTable? Build()
        {
            var slots = new int[BitOperations.RoundUpToPowerOf2((uint)Math.Max(4, _starts.Count * 2))];
            var table = new DigestTable(slots, [.. _starts, _length], _records.AsSpan(0, _length).ToArray());
            for (var entry = 0; entry < table.Count; entry++)
            {
                var path = table.PathOf(entry);
                if (table.Find(path) >= 0)
                    return null;

                var slot = (int)(Hash(path) & (uint)(slots.Length - 1));
                while (slots[slot] != 0)
                    slot = (slot + 1) & (slots.Length - 1);
                slots[slot] = entry + 1;
            }

            return table;
        }

        private Span<byte> Grow(int by)
        {
            if (_length + by > _records.Length)
                Array.Resize(ref _records, Math.Max(_records.Length * 2, _length + by));
            var added = _records.AsSpan(_length, by);
            _length += by;
            return added;
        }
    }
}
