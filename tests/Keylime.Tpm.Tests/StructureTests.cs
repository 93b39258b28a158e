using CsCheck;

namespace Keylime.Tpm.Tests;

/// <summary>What holds of every structure.</summary>
public static class StructureTests
{
    public static TheoryData<string> Names => [.. Structures.All.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public static void Is_written_as_it_was_read(string name)
    {
        var (example, rewrite) = Structures.All[name];
        Assert.Equal(example, rewrite(example));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public static void No_shorter_and_no_longer_one_is_read(string name)
    {
        var (example, rewrite) = Structures.All[name];
        for (var length = 0; length < example.Length; length++)
            Assert.Throws<TpmFormatException>(() => rewrite(example[..length]));
        Assert.Throws<TpmFormatException>(() => rewrite([.. example, 0]));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public static void Any_bytes_are_a_value_or_a_format_error(string name)
    {
        var (_, rewrite) = Structures.All[name];
        Gen.Byte.Array[0, 200].Sample(bytes => Rereads(rewrite, bytes), iter: 2000);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public static void A_changed_example_is_a_value_or_a_format_error(string name)
    {
        var (example, rewrite) = Structures.All[name];
        Gen.Select(Gen.Int[0, example.Length - 1], Gen.Byte).Array[1, 4].Sample(
            changes =>
            {
                var bytes = example.ToArray();
                foreach (var (at, value) in changes)
                    bytes[at] = value;
                return Rereads(rewrite, bytes);
            },
            iter: 5000);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public static void Every_single_bit_matters(string name)
    {
        var (example, rewrite) = Structures.All[name];
        for (var bit = 0; bit < example.Length * 8; bit++)
        {
            var bytes = example.ToArray();
            bytes[bit / 8] ^= (byte)(1 << bit % 8);
            Assert.True(Rereads(rewrite, bytes), $"bit {bit}");
        }
    }

    // What can be read is written as it was: so nothing in it was without meaning. (A public area is written without the size that
    // it may have been read with, or with one that it had not.)
    private static bool Rereads(Func<byte[], byte[]> rewrite, byte[] bytes)
    {
        try
        {
            var again = rewrite(bytes);
            return again.AsSpan().SequenceEqual(bytes)
                || again.AsSpan().SequenceEqual(bytes.AsSpan(Math.Min(2, bytes.Length)))
                || again.AsSpan(Math.Min(2, again.Length)).SequenceEqual(bytes);
        }
        catch (TpmFormatException)
        {
            return true;
        }
    }
}
