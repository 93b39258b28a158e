using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Numerics;

namespace Keylime.Attestation;

/// <summary>
/// Paths and their allowed digests in one stretch of bytes, which a compiled policy has as they are: nothing is made of them to look something up, so a million
/// of them in a mapped file are ready at once, and of the file is in memory what was looked at. A look-up takes the path's bytes as they stand in the log.
/// </summary>
/// <remarks>
/// Little-endian, one part behind the other:
/// <list type="number">
///   <item>four numbers of 32 bits: how many paths, buckets (a power of two) and directories there are, and how many bytes the directories have;</item>
///   <item>for each bucket, and one more, 32 bits: where its records start; the bucket is the low bits of the path's hash;</item>
///   <item>for each directory, and one more, 32 bits: where its name starts; then the names, each up to and with its last slash;</item>
///   <item>the records, by buckets: see <see cref="DigestRecord"/>.</item>
/// </list>
/// A path has its directory's number in place of the directory, which is most of a path; and a bucket's records are side by side, so that a look-up meets one page of them.
/// </remarks>
internal sealed class DigestTable
{
    internal const int HeadLength = 4 * sizeof(uint);

    private readonly ReadOnlyMemory<byte> _bytes;
    private readonly int _buckets;
    private readonly int _directories;
    private readonly int _directoryStarts;
    private readonly int _names;
    private readonly int _records;

    private DigestTable(ReadOnlyMemory<byte> bytes)
    {
        var head = bytes.Span;
        if (head.Length < HeadLength)
            throw new CompiledPolicyException($"a table of {head.Length} bytes; {HeadLength} at least are expected");
        Count = Number(head, 0, int.MaxValue, "paths");
        _buckets = Number(head, 1, head.Length / sizeof(uint), "buckets");
        _directories = Number(head, 2, head.Length / sizeof(uint), "directories");
        var nameBytes = Number(head, 3, head.Length, "bytes of directories");
        if (!BitOperations.IsPow2(_buckets))
            throw new CompiledPolicyException($"{_buckets} buckets; a power of two is expected");

        var names = HeadLength + sizeof(uint) * (_buckets + 1L + _directories + 1L);
        if (names + nameBytes > head.Length)
            throw new CompiledPolicyException($"a table of {head.Length} bytes; {names + nameBytes} are needed before its records");
        _directoryStarts = HeadLength + sizeof(uint) * (_buckets + 1);
        _names = (int)names;
        _records = _names + nameBytes;
        _bytes = bytes;
        Ascend(head[HeadLength.._directoryStarts], head.Length - _records, "buckets");
        Ascend(head[_directoryStarts.._names], nameBytes, "directories");
    }

    /// <summary>Paths.</summary>
    public int Count { get; }

    /// <summary>The whole table, to be kept.</summary>
    public ReadOnlyMemory<byte> Bytes => _bytes;

    /// <summary>Takes a table's bytes; they are not copied. What a record says is looked at when it is met.</summary>
    /// <exception cref="CompiledPolicyException">They are none.</exception>
    public static DigestTable Read(ReadOnlyMemory<byte> bytes) => new(bytes);

    /// <returns>The entry, or -1.</returns>
    /// <exception cref="CompiledPolicyException">A record cannot be read.</exception>
    public int Find(ReadOnlySpan<byte> path)
    {
        var found = FindIn(_bytes.Span, path);
        GC.KeepAlive(this); // a span of a mapped file does not hold the mapping: until here it is ours
        return found;
    }

    /// <summary>Whether the digest is listed for the path. A policy's digests carry no algorithm: their length says it, and the entry's has to agree.</summary>
    /// <param name="algorithm">As the entry names it: <c>sha256</c>; empty for template <c>ima</c>.</param>
    /// <exception cref="CompiledPolicyException">A record cannot be read.</exception>
    public bool Contains(ReadOnlySpan<byte> path, ReadOnlySpan<byte> algorithm, ReadOnlySpan<byte> digest)
    {
        var contains = SizeOf(algorithm, digest.Length) == digest.Length && ContainsIn(_bytes.Span, path, digest);
        GC.KeepAlive(this);
        return contains;
    }

    /// <summary>An entry's digests, as <c>sha256:hex</c>.</summary>
    public ImmutableArray<string> Describe(int entry)
    {
        var digests = ImmutableArray.CreateBuilder<string>();
        var rest = DigestRecord.Read(_bytes.Span, entry, _bytes.Length).Digests;
        while (DigestRecord.Next(ref rest, out var digest))
            digests.Add($"{NameOf(digest.Length)}:{Convert.ToHexStringLower(digest)}");
        GC.KeepAlive(this);
        return digests.DrainToImmutable();
    }

    /// <summary>For each digest that has none yet the first path that it is listed for, in the order of their bytes, in one walk through the table.</summary>
    public void FindPaths(ImmutableArray<byte[]> digests, Span<string?> paths)
    {
        var first = new byte[]?[digests.Length];
        var table = _bytes.Span;
        for (var at = _records; at < table.Length;)
        {
            var record = DigestRecord.Read(table, at, table.Length);
            var rest = record.Digests;
            while (DigestRecord.Next(ref rest, out var digest))
            {
                for (var i = 0; i < digests.Length; i++)
                {
                    if (paths[i] is null && digest.SequenceEqual(digests[i]) && (byte[])[.. Directory(table, record), .. record.Name] is var path
                        && (first[i] is not { } other || path.AsSpan().SequenceCompareTo(other) < 0))
                    {
                        first[i] = path;
                    }
                }
            }

            at = record.End;
        }

        GC.KeepAlive(this);
        for (var i = 0; i < first.Length; i++)
            paths[i] ??= first[i] is { } path ? PrintablePath.From(path) : null;
    }

    private int FindIn(ReadOnlySpan<byte> table, ReadOnlySpan<byte> path)
    {
        var hash = PathHash.Compute(path);
        var (at, end) = BucketOf(table, hash);
        var tag = PathHash.Tag(hash);
        var name = path[(path.LastIndexOf((byte)'/') + 1)..];
        while (at < end)
        {
            if (table[at] == tag)
            {
                var record = DigestRecord.Read(table, at, end);
                if (record.Name.SequenceEqual(name) && Directory(table, record).SequenceEqual(path[..^name.Length]))
                    return at;
                at = record.End;
            }
            else
            {
                at = DigestRecord.Skip(table, at, end);
            }
        }

        return -1;
    }

    private bool ContainsIn(ReadOnlySpan<byte> table, ReadOnlySpan<byte> path, ReadOnlySpan<byte> digest)
    {
        if (FindIn(table, path) is not (>= 0 and var entry))
            return false;
        var rest = DigestRecord.Read(table, entry, table.Length).Digests;
        while (DigestRecord.Next(ref rest, out var listed))
        {
            if (listed.SequenceEqual(digest))
                return true;
        }

        return false;
    }

    private (int Start, int End) BucketOf(ReadOnlySpan<byte> table, ulong hash)
    {
        var at = HeadLength + sizeof(uint) * (int)(hash & (uint)(_buckets - 1));
        return (_records + BinaryPrimitives.ReadInt32LittleEndian(table[at..]), _records + BinaryPrimitives.ReadInt32LittleEndian(table[(at + sizeof(uint))..]));
    }

    private ReadOnlySpan<byte> Directory(ReadOnlySpan<byte> table, in DigestRecord record)
    {
        if (record.Directory >= _directories)
            throw new CompiledPolicyException($"directory {record.Directory} of {_directories}");
        var at = _directoryStarts + sizeof(uint) * record.Directory;
        return table[(_names + BinaryPrimitives.ReadInt32LittleEndian(table[at..]))..(_names + BinaryPrimitives.ReadInt32LittleEndian(table[(at + sizeof(uint))..]))];
    }

    private static int Number(ReadOnlySpan<byte> head, int index, int limit, string what)
    {
        var number = BinaryPrimitives.ReadUInt32LittleEndian(head[(index * sizeof(uint))..]);
        return number <= limit ? (int)number : throw new CompiledPolicyException($"{number} {what}; {limit} at most");
    }

    // Places that start at 0, never fall, and end at the end: no slice between two of them can go wrong.
    private static void Ascend(ReadOnlySpan<byte> places, int end, string what)
    {
        uint last = 0;
        for (var i = 0; i < places.Length; i += sizeof(uint))
        {
            var place = BinaryPrimitives.ReadUInt32LittleEndian(places[i..]);
            if (place < last || i == 0 && place != 0)
                throw new CompiledPolicyException($"{what} whose places do not ascend from 0");
            last = place;
        }

        if (last != end)
            throw new CompiledPolicyException($"{what} that end at byte {last} of {end}");
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
}
