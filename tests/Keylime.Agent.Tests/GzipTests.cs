using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using CsCheck;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;

namespace Keylime.Agent.Tests;

/// <summary>What our own writer of gzip makes is what the runtime, the service and gzip itself read, within the bounds that the service has.</summary>
public sealed class GzipTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    // Bytes as they come: few or all values, runs, repeats, lines with hashes in them.
    private static readonly Gen<byte[]> Texts = Gen.OneOf(
        Gen.Byte.Array[0, 3000],
        Gen.Byte[(byte)'a', (byte)'c'].Array[0, 40_000],
        Gen.Select(Gen.Byte, Gen.Int[0, 200_000]).Select(static (b, n) => Enumerable.Repeat(b, n).ToArray()),
        Gen.Select(Gen.Byte.Array[1, 400], Gen.Int[1, 300]).Select(static (b, n) => Enumerable.Repeat(b, n).SelectMany(static x => x).ToArray()),
        Gen.Select(Gen.Int[0, 1200], Gen.Int).Select(static (n, seed) => List(n, seed)),
        Gen.Select(Gen.Int[0, 70_000], Gen.Int).Select(static (n, seed) => Random(n, seed)));

    [Fact]
    public void Whatever_is_written_in_whatever_pieces_is_read_again() =>
        Gen.Select(Texts, Gen.Int[1, 100_000]).Sample(static (text, piece) =>
        {
            var member = Write(text, piece);
            Assert.Equal(text, Inflate(member));
            Assert.True(CompressedLog.TryInflate(member, text.Length, text.Length, out var log, out var error), error);
            Assert.True(log.Span.SequenceEqual(text));
            Assert.Equal(member, Write(text, text.Length + 1)); // its length is found by writing it once before
        }, iter: 400, threads: 1);

    [Fact]
    public void Codes_that_would_be_too_long_are_made_shorter()
    {
        // Uses as Fibonacci has them make the deepest tree; 20 of them fit a block.
        var text = new List<byte>();
        for (var (i, a, b) = (0, 1, 1); text.Count + a < 16_000; i++, (a, b) = (b, a + b))
            text.AddRange(Enumerable.Repeat((byte)(i * 7), a));
        var bytes = text.ToArray();
        new Random(3).Shuffle(bytes);
        Assert.Equal(bytes, Inflate(Write(bytes, 1000)));

        var uses = new int[19];
        for (var (i, a, b) = (0, 1, 1); i < uses.Length; i++, (a, b) = (b, a + b))
            uses[i] = a;
        var code = HuffmanCode.For(uses, 7);
        Assert.Equal(7, code.Lengths.ToArray().Max());
        Assert.Equal(1.0, code.Lengths.ToArray().Sum(static l => Math.Pow(2, -l)), 9); // a whole tree
    }

    [Fact]
    public void Recorded_lists_have_twice_the_bytes_of_their_members_and_none_has_more_than_the_bound()
    {
        var lists = Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "evidence", "cases"), "list", SearchOption.AllDirectories);
        Assert.NotEmpty(lists);
        foreach (var path in lists)
        {
            var list = File.ReadAllBytes(path);
            var ratio = (double)list.Length / Write(list, 4096).Length;
            TestContext.Current.TestOutputHelper!.WriteLine($"{path}: {ratio:F2}");
            Assert.InRange(ratio, 1.9, 2.4);
        }

        foreach (var size in (int[])[0, 1, 100, 20_000, 1_000_000])
        {
            var member = Write(new byte[size], 64 * 1024);
            Assert.InRange(size, 0, member.LongLength * CompressedLog.MaxRatio);
        }
    }

    [Fact]
    public async Task Gzip_itself_reads_it()
    {
        foreach (var text in (byte[][])[[], List(5000, 1), new byte[300_000]])
        {
            var member = Write(text, 4096);
            using var gzip = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo("gzip", "-dc") { RedirectStandardInput = true, RedirectStandardOutput = true })!;
            var writing = Task.Run(async () =>
            {
                await gzip.StandardInput.BaseStream.WriteAsync(member, Cancel);
                gzip.StandardInput.Close();
            }, Cancel);
            using var read = new MemoryStream();
            await gzip.StandardOutput.BaseStream.CopyToAsync(read, Cancel);
            await writing;
            await gzip.WaitForExitAsync(Cancel);
            Assert.Equal(0, gzip.ExitCode);
            Assert.Equal(text, read.ToArray());
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(30_000)]
    public async Task Evidence_goes_out_compressed_with_the_length_that_it_tells(int lines)
    {
        var list = List(lines, 4);
        var log = new LogEvidence(EvidenceItem.ImaLog, lines, ChosenParameters.Gzip, () => list.Chunk(5000).Select(static c => (ReadOnlyMemory<byte>)c));
        using var content = new EvidenceContent(new EvidenceData { Message = [1], Signature = [2], SubjectData = [3] }, [EvidenceItem.TpmQuote, EvidenceItem.ImaLog], [log], nextWanted: true, noticesAfter: null);

        var body = await content.ReadAsByteArrayAsync(Cancel);

        Assert.Equal(body.LongLength, content.Headers.ContentLength);
        Assert.Equal($"{list.Length}", content.Headers.GetValues(CompressedLog.LengthHeader).Single());
        var item = JsonNode.Parse(body)!["data"]!["attributes"]!["evidence_collected"]![1]!["data"]!;
        Assert.Equal(lines, item["entry_count"]!.GetValue<int>());
        Assert.Equal(list, Inflate(Convert.FromBase64String(item["entries"]!.GetValue<string>())));
    }

    [Fact]
    public async Task Evidence_in_another_format_tells_no_length()
    {
        var log = new LogEvidence(EvidenceItem.ImaLog, 1, ChosenParameters.PlainText, static () => ["a\n"u8.ToArray()]);
        using var content = new EvidenceContent(new EvidenceData { Message = [1], Signature = [2], SubjectData = [3] }, [EvidenceItem.ImaLog], [log], nextWanted: false, noticesAfter: null);
        Assert.False(content.Headers.Contains(CompressedLog.LengthHeader));
        Assert.Equal("a\n", JsonNode.Parse(await content.ReadAsByteArrayAsync(Cancel))!["data"]!["attributes"]!["evidence_collected"]![0]!["data"]!["entries"]!.GetValue<string>());
    }

    [Fact]
    public void The_CRC_is_that_of_the_test_vector_and_of_any_split()
    {
        Assert.Equal(0xCBF43926, Crc32.Append(0, "123456789"u8));
        Gen.Select(Gen.Byte.Array[0, 100], Gen.Int[0, 100]).Sample(static (bytes, at) =>
            Assert.Equal(Crc32.Append(0, bytes), Crc32.Append(Crc32.Append(0, bytes.AsSpan(0, Math.Min(at, bytes.Length))), bytes.AsSpan(Math.Min(at, bytes.Length)))));
    }

    private static byte[] Write(byte[] text, int piece)
    {
        var gzip = new GzipWriter();
        using var member = new MemoryStream();
        for (var at = 0; at < text.Length; at += piece)
        {
            gzip.Write(text.AsSpan(at, Math.Min(piece, text.Length - at)));
            member.Write(gzip.Ready);
            gzip.Take();
        }

        gzip.Finish();
        member.Write(gzip.Ready);
        return member.ToArray();
    }

    private static byte[] Inflate(byte[] member)
    {
        using var gzip = new GZipStream(new MemoryStream(member), CompressionMode.Decompress);
        using var text = new MemoryStream();
        gzip.CopyTo(text);
        return text.ToArray();
    }

    private static byte[] List(int lines, int seed)
    {
        var text = new StringBuilder();
        for (var i = 0; i < lines; i++)
        {
            var digest = SHA256.HashData(Encoding.ASCII.GetBytes($"{seed} {i}"));
            text.Append("10 ").Append(Convert.ToHexStringLower(digest.AsSpan(0, 20))).Append(" ima-ng sha256:").Append(Convert.ToHexStringLower(digest)).Append(" /usr/lib/x86_64-linux-gnu/lib").Append(i % 37).Append(".so.").Append(i).Append('\n');
        }

        return Encoding.ASCII.GetBytes(text.ToString());
    }

    private static byte[] Random(int count, int seed)
    {
        var bytes = new byte[count];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
