using System.Buffers.Binary;
using System.IO.Compression;
using CsCheck;
using Keylime.Protocol.Upstream;

namespace Keylime.Protocol.Tests;

/// <summary>Logs as gzip, from whoever makes them: inflated within bounds, or refused with the reason. The runtime's reader passes over most of these faults.</summary>
[Collection("memory is measured")]
public sealed class CompressedLogTests
{
    private const long Most = 1_000_000;
    private static readonly byte[] Text = [.. Enumerable.Range(0, 20_000).Select(static i => (byte)"0123456789abcdef"[System.Security.Cryptography.SHA256.HashData(BitConverter.GetBytes(i))[0] & 15])];
    private static readonly byte[] Member = Gzip(Text);

    private static readonly byte[] Empty = CompressedLog.Empty.ToArray();

    [Fact]
    public void What_the_runtime_compresses_at_any_level_is_read() =>
        Gen.Select(
            Gen.OneOf(Gen.Byte.Array[1, 5000], Gen.Byte[(byte)'a', (byte)'d'].Array[1, 60_000], Gen.Select(Gen.Byte, Gen.Int[1, 60]).Select(static (b, n) => Enumerable.Repeat(b, n).ToArray())),
            Gen.Enum<CompressionLevel>(), Gen.Bool).Sample(static (text, level, declare) =>
        {
            Assert.True(CompressedLog.TryInflate(Gzip(text, level), declare ? text.Length : null, text.Length, out var log, out var error), error);
            Assert.True(log.Span.SequenceEqual(text));
        }, iter: 300);

    [Fact]
    public void An_empty_log_is_a_member_too()
    {
        Assert.True(CompressedLog.TryInflate(Empty, 0, Most, out var log, out var error), error);
        Assert.True(log.IsEmpty);
        Refused("must be a gzip member", []);
    }

    [Fact]
    public void Whatever_is_cut_off_is_refused()
    {
        for (var length = 0; length < Member.Length; length += length < 40 || length > Member.Length - 40 ? 1 : 97)
            Refused("must", Member[..length]);

        // The trailer is right and the data are not whole: the runtime says nothing to that.
        Refused("break off", [.. Member[..^9], .. Member[^8..]]);
        byte[] Stored(byte kind) => [.. CompressedLog.Header, kind, 0x20, 0x4E, 0xDF, 0xB1, .. Text, .. Member[^8..]];
        Assert.True(CompressedLog.TryInflate(Stored(1), null, Most, out _, out var error), error);
        Refused("break off", Stored(0)); // it has all bytes, and is not the last block
    }

    [Fact]
    public void Nothing_stands_behind_a_member()
    {
        Refused("must", [.. Member, 0]);
        Refused("must", [.. Member, .. Member[^8..]]);
        Refused("must be one gzip member", [.. Member[..^8], 0, .. Member[^8..]]);
        Refused("must be one gzip member", [.. Member[..^8], .. new byte[20_000], .. Member[^8..]]);
        Refused("must", [.. Member, .. Member]);
        Refused("must be one gzip member", [.. Empty, .. Member]); // the sizes add up, and there are two
        Refused("and has more", [.. Member, .. Empty], 0);
        Refused("must be one gzip member", [.. Empty, .. Empty]);
    }

    [Fact]
    public void CRC_and_size_are_held_against_the_log()
    {
        for (var bit = 0; bit < 64; bit++)
        {
            var altered = Member.ToArray();
            altered[^(1 + bit / 8)] ^= (byte)(1 << bit % 8);
            Refused("must inflate to", altered);
        }

        Refused("and has more", WithSize(Member, Text.Length - 1));
        Refused("and has 20000", WithSize(Member, Text.Length + 1));
        Refused("and has more", WithSize(Member, 0));
        Refused("the 19999 bytes that Keylime-Log-Length declares: it says 20000", Member, Text.Length - 1);
    }

    [Theory]
    [InlineData(0, 0x1E)]
    [InlineData(1, 0x8A)]
    [InlineData(2, 7)]
    [InlineData(3, 1)]    // FTEXT
    [InlineData(3, 2)]    // FHCRC
    [InlineData(3, 8)]    // FNAME
    [InlineData(3, 0x80)] // reserved
    public void Another_header_is_refused(int at, byte value)
    {
        var altered = Member.ToArray();
        altered[at] = value;
        Refused("must be a gzip member of deflate without optional fields", altered);
    }

    [Fact]
    public void Bombs_cost_nothing_to_speak_of()
    {
        var bomb = Gzip(new byte[50_000_000], CompressionLevel.SmallestSize);
        Assert.InRange(bomb.Length, 1, 60_000);
        Refused($"must inflate to {bomb.Length * CompressedLog.MaxRatio} bytes at most", bomb, most: 64_000_000);
        Refused("must inflate to 1000 bytes at most", Member, most: 1000);

        // One that lies is inflated as far as it says, and not further; what it says is no room before bytes are there.
        foreach (var (size, text) in (ReadOnlySpan<(int, string)>)[(100_000, "and has more"), (1000, "and has more")])
        {
            var lies = WithSize(bomb, size);
            var before = GC.GetAllocatedBytesForCurrentThread();
            Refused(text, lies);
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 3 * size + 50_000);
        }

        var broken = Member.ToArray();
        broken.AsSpan(12, 2000).Fill(0xFF);
        Refused("must", WithSize(broken, Member.Length * CompressedLog.MaxRatio), allocating: Member.Length * 5 + 50_000);
    }

    [Fact]
    public void Any_bytes_are_a_log_or_a_refusal_and_what_is_altered_is_never_another_log()
    {
        Gen.Select(Gen.Byte.Array[0, 400], Gen.Bool).Sample(static (bytes, headed) =>
        {
            CompressedLog.TryInflate(headed ? [.. CompressedLog.Header, .. bytes] : bytes, null, Most, out _, out _);
        }, iter: 3000);
        Gen.Select(Gen.Int[0, 8 * Member.Length - 1], Gen.Int[0, 8 * Member.Length - 1]).Sample(static (first, second) =>
        {
            var altered = Member.ToArray();
            altered[first / 8] ^= (byte)(1 << first % 8);
            altered[second / 8] ^= (byte)(1 << second % 8);
            return !CompressedLog.TryInflate(altered, null, Most, out var log, out _) || log.Span.SequenceEqual(Text);
        }, iter: 2000);
    }

    private static void Refused(string reason, byte[] member, long? declared = null, long most = Most, long? allocating = null)
    {
        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.False(CompressedLog.TryInflate(member, declared, most, out var log, out var error));
        if (allocating is { } bytes)
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, bytes);
        Assert.True(log.IsEmpty);
        Assert.StartsWith("must", error, StringComparison.Ordinal);
        Assert.Contains(reason, error, StringComparison.Ordinal);
    }

    private static byte[] WithSize(byte[] member, int size)
    {
        var altered = member.ToArray();
        BinaryPrimitives.WriteInt32LittleEndian(altered.AsSpan(altered.Length - 4), size);
        return altered;
    }

    private static byte[] Gzip(byte[] text, CompressionLevel level = CompressionLevel.Optimal)
    {
        using var member = new MemoryStream();
        using (var gzip = new GZipStream(member, level, leaveOpen: true))
            gzip.Write(text);
        return member.ToArray();
    }
}
