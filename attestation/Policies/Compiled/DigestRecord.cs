namespace Keylime.Attestation;

/// <summary>One path of a table, with its digests.</summary>
/// <remarks>
/// A tag (a byte of the path's hash); the length of the rest; the number of the path's directory; the length of its name, and the name; then each digest with its length, one byte,
/// in front. Lengths and numbers have seven bits a byte, the lowest first; the high bit says that another byte follows.
/// </remarks>
internal readonly ref struct DigestRecord
{
    private const int MaxNumberLength = 5;

    private DigestRecord(int directory, ReadOnlySpan<byte> name, ReadOnlySpan<byte> digests, int end)
    {
        Directory = directory;
        Name = name;
        Digests = digests;
        End = end;
    }

    public int Directory { get; }

    /// <summary>What is behind the path's last slash.</summary>
    public ReadOnlySpan<byte> Name { get; }

    /// <summary>See <see cref="Next"/>.</summary>
    public ReadOnlySpan<byte> Digests { get; }

    /// <summary>Where the next record starts.</summary>
    public int End { get; }

    /// <exception cref="CompiledPolicyException">It does not end before <paramref name="limit"/>, or its parts do not fit it.</exception>
    public static DigestRecord Read(ReadOnlySpan<byte> table, int at, int limit)
    {
        at++;
        var length = ReadNumber(table, ref at, limit);
        var end = EndOf(at, length, limit);
        var directory = ReadNumber(table, ref at, end);
        var nameLength = ReadNumber(table, ref at, end);
        var digests = EndOf(at, nameLength, end);
        return new DigestRecord(directory, table[at..digests], table[digests..end], end);
    }

    /// <summary>Where the next record starts.</summary>
    /// <exception cref="CompiledPolicyException">This one does not end before <paramref name="limit"/>.</exception>
    public static int Skip(ReadOnlySpan<byte> table, int at, int limit)
    {
        at++;
        var length = ReadNumber(table, ref at, limit);
        return EndOf(at, length, limit);
    }

    /// <summary>Takes the first of some digests.</summary>
    /// <returns>False if there is none left.</returns>
    /// <exception cref="CompiledPolicyException">It is longer than what is there.</exception>
    public static bool Next(ref ReadOnlySpan<byte> digests, out ReadOnlySpan<byte> digest)
    {
        digest = default;
        if (digests.IsEmpty)
            return false;
        int length = digests[0];
        if (length >= digests.Length)
            throw new CompiledPolicyException($"a digest of {length} bytes where {digests.Length - 1} are left");
        digest = digests.Slice(1, length);
        digests = digests[(1 + length)..];
        return true;
    }

    public static int LengthOf(int number)
    {
        var length = 1;
        for (; number > 0x7F; number >>= 7)
            length++;
        return length;
    }

    public static int WriteNumber(Span<byte> into, int number)
    {
        var length = 0;
        for (; number > 0x7F; number >>= 7)
            into[length++] = (byte)(number & 0x7F | 0x80);
        into[length++] = (byte)number;
        return length;
    }

    private static int ReadNumber(ReadOnlySpan<byte> table, ref int at, int limit)
    {
        if (at < limit && table[at] is < 0x80 and var one)
        {
            at++;
            return one;
        }

        long number = 0;
        for (var i = 0; i < MaxNumberLength && at < limit; i++)
        {
            var next = table[at++];
            number |= (long)(next & 0x7F) << (7 * i);
            if (next < 0x80 && number <= int.MaxValue)
                return (int)number;
        }

        throw new CompiledPolicyException($"no number ends before byte {limit}");
    }

    private static int EndOf(int at, int length, int limit) =>
        length <= limit - at ? at + length : throw new CompiledPolicyException($"{length} bytes at byte {at}; {limit - at} are left");
}
