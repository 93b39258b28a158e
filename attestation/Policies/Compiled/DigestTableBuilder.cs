using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Keylime.Attestation;

/// <summary>Takes paths, each with its digests behind it, and makes a table of them: the same bytes whenever the same is added in the same order.</summary>
internal sealed class DigestTableBuilder
{
    private const int RecordsOfBucket = 4; // at most, on average: a few lines of the cache, all of one page

    private readonly List<int> _starts = [];
    private byte[] _added = new byte[1024]; // for each path its length (4), the path, then each digest with its length (1) in front
    private int _length;

    public int Count => _starts.Count;

    public void AddPath(ReadOnlySpan<byte> path)
    {
        _starts.Add(_length);
        var added = Grow(sizeof(int) + path.Length);
        MemoryMarshal.Write(added, path.Length);
        path.CopyTo(added[sizeof(int)..]);
    }

    /// <summary>Adds a digest to the path added last.</summary>
    public void AddDigest(ReadOnlySpan<byte> digest)
    {
        var added = Grow(1 + digest.Length);
        added[0] = (byte)digest.Length;
        digest.CopyTo(added[1..]);
    }

    /// <returns><see langword="null"/> if a path was added twice.</returns>
    public DigestTable? Build()
    {
        var directories = new DirectoryNames();
        var buckets = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(1, (Count + RecordsOfBucket - 1) / RecordsOfBucket));
        var places = new int[buckets + 1]; // of each bucket its length, for the time being
        var numbers = new int[Count];
        for (var i = 0; i < Count; i++)
        {
            var added = Added(i);
            numbers[i] = directories.NumberOf(added.Path);
            places[BucketOf(added.Hash, buckets)] += LengthOf(added.RestLength(numbers[i]));
        }

        var total = 0;
        for (var i = 0; i < places.Length; i++)
            (places[i], total) = (total, total + places[i]);

        var table = new byte[DigestTable.HeadLength + sizeof(uint) * (buckets + 1 + directories.Count + 1) + directories.Length + total];
        var rest = table.AsSpan();
        foreach (var number in (ReadOnlySpan<int>)[Count, buckets, directories.Count, directories.Length, .. places])
            Put(ref rest, number);
        directories.Write(ref rest);
        return Write(rest, places, numbers) ? DigestTable.Read(table) : null;
    }

    // A record goes to where the one before it in its bucket ended, so a bucket keeps the order in which they were added.
    private bool Write(Span<byte> records, int[] places, int[] numbers)
    {
        var ends = (int[])places.Clone();
        for (var i = 0; i < Count; i++)
        {
            var added = Added(i);
            var bucket = BucketOf(added.Hash, places.Length - 1);
            for (var at = places[bucket]; at < ends[bucket];)
            {
                var other = DigestRecord.Read(records, at, ends[bucket]);
                if (other.Directory == numbers[i] && other.Name.SequenceEqual(added.Name))
                    return false;
                at = other.End;
            }

            var into = records[ends[bucket]..];
            var length = added.RestLength(numbers[i]);
            into[0] = PathHash.Tag(added.Hash);
            into = into[1..];
            foreach (var number in (ReadOnlySpan<int>)[length, numbers[i], added.Name.Length])
                into = into[DigestRecord.WriteNumber(into, number)..];
            added.Name.CopyTo(into);
            added.Digests.CopyTo(into[added.Name.Length..]);
            ends[bucket] += LengthOf(length);
        }

        return true;
    }

    private static int BucketOf(ulong hash, int buckets) => (int)(hash & (uint)(buckets - 1));

    private static int LengthOf(int rest) => 1 + DigestRecord.LengthOf(rest) + rest;

    private static void Put(ref Span<byte> into, int number)
    {
        BinaryPrimitives.WriteInt32LittleEndian(into, number);
        into = into[sizeof(int)..];
    }

    private AddedPath Added(int index)
    {
        var added = _added.AsSpan(_starts[index]..(index + 1 < Count ? _starts[index + 1] : _length));
        var digests = sizeof(int) + MemoryMarshal.Read<int>(added);
        return new AddedPath(added[sizeof(int)..digests], added[digests..]);
    }

    private Span<byte> Grow(int by)
    {
        if (_length + by > _added.Length)
            Array.Resize(ref _added, (int)Math.Min(Array.MaxLength, Math.Max(_added.Length * 2L, (long)_length + by)));
        var added = _added.AsSpan(_length, by);
        _length += by;
        return added;
    }

    private readonly ref struct AddedPath(ReadOnlySpan<byte> path, ReadOnlySpan<byte> digests)
    {
        public readonly ReadOnlySpan<byte> Path = path;
        public readonly ReadOnlySpan<byte> Digests = digests;
        public readonly ulong Hash = PathHash.Compute(path);

        public ReadOnlySpan<byte> Name => Path[(Path.LastIndexOf((byte)'/') + 1)..];

        /// <summary>Of its record, behind the length.</summary>
        public int RestLength(int directory) => DigestRecord.LengthOf(directory) + DigestRecord.LengthOf(Name.Length) + Name.Length + Digests.Length;
    }

    /// <summary>Directories in the order in which they are met, each once.</summary>
    private sealed class DirectoryNames
    {
        private readonly List<byte[]> _names = [];
        private readonly Dictionary<byte[], int> _numbers = new(ByteSequences.Equal);
        private byte[] _last = [];
        private int _lastNumber = -1;

        public int Count => _names.Count;

        /// <summary>Of all names together.</summary>
        public int Length { get; private set; }

        public int NumberOf(ReadOnlySpan<byte> path)
        {
            var name = path[..(path.LastIndexOf((byte)'/') + 1)];
            if (_lastNumber >= 0 && name.SequenceEqual(_last))
                return _lastNumber; // neighbours in a policy are neighbours in a directory
            var numbers = _numbers.GetAlternateLookup<ReadOnlySpan<byte>>();
            if (!numbers.TryGetValue(name, out _lastNumber))
            {
                _lastNumber = _names.Count;
                _names.Add(name.ToArray());
                _numbers.Add(_names[^1], _lastNumber);
                Length += name.Length;
            }

            _last = _names[_lastNumber];
            return _lastNumber;
        }

        public void Write(ref Span<byte> into)
        {
            var start = 0;
            foreach (var name in _names)
            {
                Put(ref into, start);
                start += name.Length;
            }

            Put(ref into, start);
            foreach (var name in _names)
            {
                name.CopyTo(into);
                into = into[name.Length..];
            }
        }
    }
}
