using System.Buffers.Binary;
using System.Security.Cryptography;
using CsCheck;
using Keylime.Protocol.Payloads;

namespace Keylime.Protocol.Tests;

/// <summary>A sealed content opens whole and unaltered, or not at all; with a second implementation of the format, made from its description, as oracle.</summary>
[Collection("memory is measured")] // of the whole process
public sealed class PayloadCipherTests
{
    private const int Tag = 16;
    private const int SealedSegment = PayloadCipher.SegmentSize + Tag;
    private static readonly byte[] Key = [.. Enumerable.Range(0, 32).Select(static i => (byte)i)];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(PayloadCipher.SegmentSize - 1)]
    [InlineData(PayloadCipher.SegmentSize)]
    [InlineData(PayloadCipher.SegmentSize + 1)]
    [InlineData(3 * PayloadCipher.SegmentSize)]
    [InlineData(3 * PayloadCipher.SegmentSize + 77)]
    public async Task What_is_sealed_opens_and_is_what_its_description_says(int size)
    {
        var plain = RandomNumberGenerator.GetBytes(size);
        var bytes = await SealAsync(plain);
        Assert.Equal(PayloadCipher.SealedLength(size), bytes.Length);
        Assert.Equal(plain, await OpenAsync(bytes, Key));
        Assert.Equal(Described(bytes.AsSpan(8, 32), Split(plain)), bytes); // one encoding for a content and a salt
        Assert.NotEqual(bytes, await SealAsync(plain)); // another salt each time
    }

    [Theory]
    [InlineData("nothing", "a header of 0 bytes, 40 are expected, at byte 0.")]
    [InlineData("a part of the header", "a header of 39 bytes, 40 are expected, at byte 0.")]
    [InlineData("the header alone", "segment 0 of 0 bytes, 16 at least are expected, at byte 40.")]
    [InlineData("of version 2", "no sealed payload of version 1 at byte 0.")]
    [InlineData("another salt", "segment 0 is not what was sealed with this key as one before the last, at byte 40.")]
    [InlineData("another key", "segment 0 is not what was sealed with this key as one before the last, at byte 40.")]
    [InlineData("without its last segment", "segment 1 is not what was sealed with this key as the last one, at byte 65592.")]
    [InlineData("without its last byte", "segment 2 is not what was sealed with this key as the last one, at byte 131144.")]
    [InlineData("cut in a tag", "segment 2 of 7 bytes, 16 at least are expected, at byte 131144.")]
    [InlineData("a byte more", "segment 2 is not what was sealed with this key as the last one, at byte 131144.")]
    [InlineData("a segment more", "segment 2 is not what was sealed with this key as one before the last, at byte 131144.")]
    [InlineData("two segments changed places", "segment 0 is not what was sealed with this key as one before the last, at byte 40.")]
    [InlineData("a segment twice", "segment 1 is not what was sealed with this key as one before the last, at byte 65592.")]
    [InlineData("a segment left out", "segment 1 is not what was sealed with this key as the last one, at byte 65592.")]
    [InlineData("a segment of another stream", "segment 1 is not what was sealed with this key as one before the last, at byte 65592.")]
    [InlineData("an empty last segment", "segment 3 with nothing in it at byte 196696.")]
    public async Task An_attack_is_refused_and_no_unproven_byte_gets_out(string attack, string message)
    {
        var plain = RandomNumberGenerator.GetBytes(attack is "an empty last segment" or "a segment more" ? 3 * PayloadCipher.SegmentSize : 2 * PayloadCipher.SegmentSize + 1000);
        var good = await SealAsync(plain);
        var other = await SealAsync(RandomNumberGenerator.GetBytes(plain.Length));
        var bytes = attack switch
        {
            "nothing" => [],
            "a part of the header" => good[..39],
            "the header alone" => good[..40],
            "of version 2" => Altered(good, 7, 3),
            "another salt" => Altered(good, 8, 1),
            "another key" => good,
            "without its last segment" => good[..Start(2)],
            "without its last byte" => good[..^1],
            "cut in a tag" => good[..(Start(2) + 7)],
            "a byte more" => [.. good, 0],
            "a segment more" => [.. good, .. other[Start(2)..]],
            "two segments changed places" => [.. good[..Start(0)], .. good[Start(1)..Start(2)], .. good[Start(0)..Start(1)], .. good[Start(2)..]],
            "a segment twice" => [.. good[..Start(1)], .. good[Start(0)..]],
            "a segment left out" => [.. good[..Start(1)], .. good[Start(2)..]],
            "a segment of another stream" => [.. good[..Start(1)], .. other[Start(1)..Start(2)], .. good[Start(2)..]],
            "an empty last segment" => Described(good.AsSpan(8, 32), [.. Split(plain), []]),
            _ => throw new ArgumentOutOfRangeException(nameof(attack)),
        };

        using var output = new MemoryStream();
        var key = attack == "another key" ? Altered(Key, 31, 1) : Key;
        var refused = await Assert.ThrowsAsync<PayloadFormatException>(() => PayloadCipher.OpenAsync(new MemoryStream(bytes), output, key, Cancel));
        Assert.Equal(message, refused.Message);
        Assert.Equal(plain[..(int)output.Length], output.ToArray()); // what got out was proven
    }

    [Fact]
    public void Each_bit_counts()
    {
        Gen.Select(Gen.Byte.Array[0, 200], Gen.Int[0, int.MaxValue]).Sample((plain, at) =>
        {
            var bytes = SealAsync(plain).GetAwaiter().GetResult();
            Assert.Throws<PayloadFormatException>(() => OpenAsync(Altered(bytes, at / 8 % bytes.Length, 1 << at % 8), Key).GetAwaiter().GetResult());
        }, iter: 2000);
    }

    [Fact]
    public void Any_bytes_are_a_content_or_the_one_exception()
    {
        var magic = "keylime\u0001"u8.ToArray();
        Gen.Select(Gen.Bool, Gen.Byte.Array[0, 300]).Sample((headed, bytes) =>
            Assert.Throws<PayloadFormatException>(() => OpenAsync(headed ? [.. magic, .. bytes] : bytes, Key).GetAwaiter().GetResult()), iter: 5000);
    }

    [Fact]
    public void Any_content_comes_back_however_the_stream_gives_it_out()
    {
        Gen.Select(Gen.Int[0, 3 * PayloadCipher.SegmentSize], Gen.Int[1, 70_000], Gen.Int).Sample((size, step, seed) =>
        {
            var plain = new byte[size];
            new Random(seed).NextBytes(plain);
            using var bytes = new MemoryStream();
            PayloadCipher.SealAsync(new Dribble(plain, step), bytes, Key, Cancel).GetAwaiter().GetResult();
            using var output = new MemoryStream();
            PayloadCipher.OpenAsync(new Dribble(bytes.ToArray(), step), output, Key, Cancel).GetAwaiter().GetResult();
            Assert.Equal(plain, output.ToArray());
        }, iter: 100);
    }

    [Fact]
    public async Task A_gigabyte_takes_no_more_memory_than_a_few_segments()
    {
        const long size = 1L << 30;
        var pipe = new System.IO.Pipelines.Pipe();
        var before = GC.GetTotalAllocatedBytes(precise: true);
        var sealing = Task.Run(async () =>
        {
            await using var sealing = pipe.Writer.AsStream();
            await PayloadCipher.SealAsync(new Zeros(size), sealing, Key, Cancel);
        }, Cancel);
        await using var output = new Zeros(0);
        await PayloadCipher.OpenAsync(pipe.Reader.AsStream(), output, Key, Cancel);
        await sealing;
        Assert.Equal(size, output.Written);
        Assert.InRange(GC.GetTotalAllocatedBytes(precise: true) - before, 0, 64 << 20); // of everything, ever, for 16384 segments each way
    }

    [Fact]
    public async Task A_key_of_another_length_is_a_mistake_of_the_caller()
    {
        var good = await SealAsync([]);
        foreach (var size in (int[])[0, 16, 31, 33])
        {
            await Assert.ThrowsAsync<ArgumentException>(() => PayloadCipher.SealAsync(new MemoryStream(), new MemoryStream(), new byte[size], Cancel));
            await Assert.ThrowsAsync<ArgumentException>(() => PayloadCipher.OpenAsync(new MemoryStream(good), new MemoryStream(), new byte[size], Cancel));
        }
    }

    private static int Start(int segment) => PayloadCipher.HeaderSize + segment * SealedSegment;

    private static byte[] Altered(byte[] bytes, int at, int bits)
    {
        var altered = (byte[])bytes.Clone();
        altered[at] ^= (byte)bits;
        return altered;
    }

    private static byte[][] Split(byte[] plain) => plain.Length == 0 ? [[]] : [.. plain.Chunk(PayloadCipher.SegmentSize)];

    // The format as its description has it, written a second time.
    private static byte[] Described(ReadOnlySpan<byte> salt, byte[][] segments)
    {
        var magic = "keylime\u0001"u8.ToArray();
        byte[] header = [.. magic, .. salt];
        using var aead = new AesGcm(HKDF.DeriveKey(HashAlgorithmName.SHA256, Key, 32, salt.ToArray(), magic), Tag);
        using var output = new MemoryStream();
        output.Write(header);
        for (var i = 0; i < segments.Length; i++)
        {
            var nonce = new byte[12];
            BinaryPrimitives.WriteInt32BigEndian(nonce.AsSpan(7), i);
            nonce[11] = i == segments.Length - 1 ? (byte)1 : (byte)0;
            var (cipher, tag) = (new byte[segments[i].Length], new byte[Tag]);
            aead.Encrypt(nonce, segments[i], cipher, tag, header);
            output.Write([.. cipher, .. tag]);
        }

        return output.ToArray();
    }

    private static async Task<byte[]> SealAsync(byte[] plain)
    {
        using var output = new MemoryStream();
        await PayloadCipher.SealAsync(new MemoryStream(plain), output, Key, Cancel);
        return output.ToArray();
    }

    private static async Task<byte[]> OpenAsync(byte[] bytes, byte[] key)
    {
        using var output = new MemoryStream();
        await PayloadCipher.OpenAsync(new MemoryStream(bytes), output, key, Cancel);
        return output.ToArray();
    }

    /// <summary>Gives as many bytes as it likes, as a network does.</summary>
    private sealed class Dribble(byte[] content, int step) : MemoryStream(content)
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            base.ReadAsync(buffer[..Math.Min(buffer.Length, step)], cancellationToken);
    }

    /// <summary>So many zeros; what is written is looked at and counted.</summary>
    private sealed class Zeros(long left) : Stream
    {
        private long _left = left;

        public long Written { get; private set; }

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override int Read(byte[] buffer, int offset, int count)
        {
            var read = (int)Math.Min(_left, count);
            buffer.AsSpan(offset, read).Clear();
            _left -= read;
            return read;
        }

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var read = (int)Math.Min(_left, buffer.Length);
            buffer.Span[..read].Clear();
            _left -= read;
            return ValueTask.FromResult(read);
        }

        public override void Write(byte[] buffer, int offset, int count) => Count(buffer.AsSpan(offset, count));

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            Count(buffer.Span);
            return ValueTask.CompletedTask;
        }

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        private void Count(ReadOnlySpan<byte> bytes)
        {
            Assert.Equal(-1, bytes.IndexOfAnyExcept((byte)0));
            Written += bytes.Length;
        }
    }
}
