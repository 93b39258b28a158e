using System.Buffers.Binary;
using System.Text;

namespace Keylime.Tenant;

/// <summary>A header structure of an RPM package: an index of tags, and a store of their values (rpm.org: RPM v4 package format).</summary>
/// <remarks>
/// <code>
///  3  8e ad e8       1  version, 1     4  reserved
///  4  entries        4  bytes of the store
///     entries, each: tag, type, offset in the store, count
///     store
/// </code>
/// All are big-endian.
/// </remarks>
internal sealed class RpmHeader
{
    public const int IntroLength = 16;

    private const int EntryLength = 16;
    private const int MaxEntries = 65_536;
    private const int MaxStore = 256 * 1024 * 1024;
    private const int MaxValues = 4_000_000;

    private readonly Dictionary<int, (int Type, int Offset, int Count)> _index = [];
    private readonly ReadOnlyMemory<byte> _store;

    private RpmHeader(ReadOnlyMemory<byte> bytes, int entries)
    {
        Bytes = bytes;
        _store = bytes[(IntroLength + EntryLength * entries)..];
        for (var i = 0; i < entries; i++)
        {
            var entry = bytes.Span[(IntroLength + EntryLength * i)..];
            var (tag, type, offset, count) = (Number(entry), Number(entry[4..]), Number(entry[8..]), Number(entry[12..]));
            if (offset < 0 || offset > _store.Length || count is < 0 or > MaxValues)
                throw new InvalidDataException($"tag {tag} lies outside of its header");
            _index[tag] = (type, offset, count);
        }
    }

    /// <summary>The whole structure.</summary>
    public ReadOnlyMemory<byte> Bytes { get; }

    /// <exception cref="InvalidDataException">It is no header, or ends early.</exception>
    public static RpmHeader Read(Stream stream)
    {
        var intro = new byte[IntroLength];
        Fill(stream, intro);
        if (intro is not [0x8E, 0xAD, 0xE8, 1, ..])
            throw new InvalidDataException("the magic number of an RPM header is expected");
        var (entries, store) = (Number(intro.AsSpan(8)), Number(intro.AsSpan(12)));
        if (entries is < 0 or > MaxEntries || store is < 0 or > MaxStore)
            throw new InvalidDataException($"a header of {entries} entries and {store} bytes; {MaxEntries} and {MaxStore} are the most");
        // As it comes and not at once: what a header says of its length costs nothing until the bytes are there.
        using var all = new MemoryStream();
        all.Write(intro);
        var buffer = new byte[64 * 1024];
        for (var left = EntryLength * entries + store; left > 0;)
        {
            var read = stream.Read(buffer, 0, Math.Min(left, buffer.Length));
            if (read == 0)
                throw new InvalidDataException("the file ends in a header");
            all.Write(buffer, 0, read);
            left -= read;
        }

        return new RpmHeader(all.ToArray(), entries);
    }

    public bool Has(int tag) => _index.ContainsKey(tag);

    /// <returns><see langword="null"/> without such a tag.</returns>
    public string? Text(int tag) => Texts(tag) is [var first, ..] ? first : null;

    /// <summary>Strings; empty without such a tag.</summary>
    public string[] Texts(int tag)
    {
        if (!_index.TryGetValue(tag, out var entry))
            return [];
        if (entry.Type is not (6 or 8 or 9)) // a string, an array of them, one for each language
            throw Wrong(tag, "strings");
        var rest = _store.Span[entry.Offset..];
        var texts = new List<string>();
        for (var i = 0; i < entry.Count; i++)
        {
            var end = rest.IndexOf((byte)0);
            if (end < 0)
                throw Wrong(tag, "strings that end with a zero");
            texts.Add(Encoding.UTF8.GetString(rest[..end]));
            rest = rest[(end + 1)..];
        }

        return [.. texts];
    }

    /// <summary>Numbers of 16 or 32 bits; empty without such a tag.</summary>
    public int[] Numbers(int tag)
    {
        if (!_index.TryGetValue(tag, out var entry))
            return [];
        var size = entry.Type switch { 3 => sizeof(ushort), 4 => sizeof(uint), _ => throw Wrong(tag, "numbers of 16 or 32 bits") };
        if ((long)entry.Count * size > _store.Length - entry.Offset)
            throw Wrong(tag, $"{entry.Count} numbers");
        var numbers = new int[entry.Count];
        for (var i = 0; i < numbers.Length; i++)
        {
            var at = _store.Span[(entry.Offset + size * i)..];
            numbers[i] = size == sizeof(ushort) ? BinaryPrimitives.ReadUInt16BigEndian(at) : Number(at);
        }

        return numbers;
    }

    internal static void Fill(Stream stream, Span<byte> into)
    {
        if (stream.ReadAtLeast(into, into.Length, throwOnEndOfStream: false) < into.Length)
            throw new InvalidDataException("the file ends early");
    }

    private static int Number(ReadOnlySpan<byte> at) => BinaryPrimitives.ReadInt32BigEndian(at);

    private static InvalidDataException Wrong(int tag, string expected) => new($"tag {tag}: {expected} are expected");
}
