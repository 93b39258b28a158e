using System.Text;
using CsCheck;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>A measurement list that is none proves nothing, says where it is wrong, and costs no more than its bytes.</summary>
public sealed class BadListTests : IDisposable
{
    private static readonly string Hex = List.HexOf("/bin/x");

    private readonly SoftwareTpm _tpm = new(TpmAlgorithm.Ecdsa);

    public void Dispose() => _tpm.Dispose();

    [Theory]
    [InlineData("10 {H} ima-ng sha256:00 /x", "ima.template_hash_mismatch")]
    [InlineData(" 9 {H} ima-ng sha256:00 /x", "ima.pcr_index")]
    [InlineData("11 {H} ima-ng sha256:00 /x", "ima.pcr_index")]
    [InlineData("9 {H} ima-ng sha256:00 /x", "ima.line_malformed")]
    [InlineData("010 {H} ima-ng sha256:00 /x", "ima.line_malformed")]
    [InlineData("1x {H} ima-ng sha256:00 /x", "ima.line_malformed")]
    [InlineData("-1 {H} ima-ng sha256:00 /x", "ima.line_malformed")]
    [InlineData("10  {H} ima-ng sha256:00 /x", "ima.line_malformed")]
    [InlineData("10\t{H} ima-ng sha256:00 /x", "ima.line_malformed")]
    [InlineData("10 {H}0 ima-ng sha256:00 /x", "ima.line_malformed")]
    [InlineData("10 00 ima-ng sha256:00 /x", "ima.violation")]
    [InlineData("10 {H}", "ima.line_malformed")]
    [InlineData("10 {H} ima-ng", "ima.line_malformed")]
    [InlineData("10 {H} ima-ng sha256:00", "ima.line_malformed")]
    [InlineData("10 {H} ima-ng sha256:00 ", "ima.line_malformed")]
    [InlineData("10 {H} ima-ng sha256:0 /x", "ima.line_malformed")]
    [InlineData("10 {H} ima-ng sha256:0A /x", "ima.line_malformed")]
    [InlineData("10 {H} ima-ng sha256: /x", "ima.line_malformed")]
    [InlineData("10 {H} ima-ng sha256 /x", "ima.line_malformed")]
    [InlineData("10 {H} ima-ng :00 /x", "ima.line_malformed")]
    [InlineData("10 {H} ima-ng a:b:00 /x", "ima.line_malformed")]
    [InlineData("10 {H} ima-ng sha256:00 /x\0y", "ima.line_malformed")]
    [InlineData("10 {H} ima-ng sha256:00 /x\r", "ima.template_hash_mismatch")]
    [InlineData("10 {H} ima-ngv2 sha256:00 /x", "ima.line_malformed")]
    [InlineData("10 {H} ima-ngv2 file:sha256:00 /x", "ima.line_malformed")]
    [InlineData("10 {H} ima-sig sha256:00 /x", "ima.line_malformed")]
    [InlineData("10 {H} ima-sig sha256:00 /x 0", "ima.line_malformed")]
    [InlineData("10 {H} ima-sig sha256:00 /x 0Z", "ima.line_malformed")]
    [InlineData("10 {H} ima-modsig sha256:00 /x  ", "ima.line_malformed")]
    [InlineData("10 {H} ima-modsig sha256:00 /x  :00 ", "ima.line_malformed")]
    [InlineData("10 {H} ima 00 /x", "ima.line_malformed")]
    [InlineData("10 {H} d-ng|n-ng|imode sha256:00 /x 65536", "ima.line_malformed")]
    [InlineData("10 {H} d-ng|n-ng|iuid sha256:00 /x 4294967296", "ima.line_malformed")]
    [InlineData("10 {H} d-ng|n-ng|iuid sha256:00 /x 01", "ima.line_malformed")]
    [InlineData("", "ima.line_malformed")]
    public void Line(string line, string code)
    {
        var text = Encoding.ASCII.GetBytes(line.Replace("{H}", new string('1', 40), StringComparison.Ordinal) + "\n");
        var result = Lists.Appraise(new List().Add("/x").QuoteAfter(_tpm, 1), text, null, Policies.Allowing("/x"));
        Assert.Null(result.Proven);
        Assert.Contains(code, result.Codes(), StringComparison.Ordinal);
        Assert.True(result.Findings.Length == result.FindingCount);
    }

    [Theory]
    [InlineData("ffffffff")]
    [InlineData("ffffff7f")]
    [InlineData("00000080")]
    [InlineData("00010000")]
    [InlineData("00000000")]
    public void Counts_that_overflow_are_refused_with_their_place(string count)
    {
        var list = new List().Add("/bin/0").Add("ima", ("d", Hex[..40]), ("n", "/bin/x"));
        var quote = list.QuoteAfter(_tpm, 2);
        var policy = Policies.Of([("/bin/0", [List.HexOf("/bin/0")]), ("/bin/x", [Hex[..40]])]);
        Assert.Equal("", Lists.AppraiseBinary(quote, list.Binary, policy).Codes());
        foreach (var at in CountsOf(list))
        {
            var broken = list.Binary;
            Convert.FromHexString(count).CopyTo(broken, at);
            var result = Lists.AppraiseBinary(quote, broken, policy);
            Assert.Null(result.Proven);
            Assert.Contains(result.Findings, f => f.Code == FindingCodes.ImaLineMalformed || f.Code == FindingCodes.ImaTemplateHashMismatch || f.Code == FindingCodes.ImaTemplateUnsupported);
        }
    }

    [Fact]
    public void A_list_that_is_cut_anywhere_is_proven_up_to_no_more_than_its_last_whole_entry()
    {
        var list = new List().Add("/bin/0").AddSigned("/bin/1", [3, 2, 4]).Add("ima", ("d", Hex[..40]), ("n", "/bin/x")).Violate("/var/v").AddBuffer("b", [1, 2]);
        var quote = list.QuoteAfter(_tpm, 5);
        var policy = Policies.With($$"""{"digests":{"/bin/0":["{{List.HexOf("/bin/0")}}"],"/bin/1":["{{List.HexOf("/bin/1")}}"],"/bin/x":["{{Hex[..40]}}"]},"excludes":["/var","b"]}""");
        foreach (var format in Enum.GetValues<ImaListFormat>())
        {
            var whole = format == ImaListFormat.Text ? list.Text : list.Binary;
            Assert.Equal("", ImaLog.Appraise(quote, whole, format, null, policy, Lists.At).Codes());
            for (var length = 0; length < whole.Length; length++)
            {
                var cut = ImaLog.Appraise(quote, whole.AsMemory(0, length), format, null, policy, Lists.At);
                Assert.Null(cut.Proven);
                Assert.InRange(cut.FindingCount, 1, 3);
            }
        }
    }

    [Fact]
    public void Bytes_at_random_prove_nothing_in_either_form()
    {
        var list = new List().Add("/bin/0").AddSigned("/bin/1", [3, 2, 4]).AddBuffer("b", [1, 2]);
        var quote = list.QuoteAfter(_tpm, 3);
        var policy = Policies.With($$"""{"digests":{"/bin/0":["{{List.HexOf("/bin/0")}}"],"/bin/1":["{{List.HexOf("/bin/1")}}"]},"excludes":["b$"]}""");
        Assert.Equal(0, Lists.AppraiseBinary(quote, list.Binary, policy).FindingCount);
        Gen.Byte.Array[0, 300].Sample(bytes => Assert.Null(Lists.AppraiseBinary(quote, bytes, policy).Proven), iter: 3000, threads: 1);
        Gen.Select(Gen.Int[0, list.Binary.Length - 1], Gen.Byte[1, 255]).Sample((at, change) =>
        {
            var broken = list.Binary;
            broken[at] ^= change;
            Assert.True(Lists.AppraiseBinary(quote, broken, policy).FindingCount > 0);
        }, iter: 3000, threads: 1);
    }

    [Fact]
    public void A_million_empty_lines_and_a_hundred_megabytes_end_soon()
    {
        var quote = new List().Add("/x").QuoteAfter(_tpm, 1);
        var policy = Policies.Allowing("/x");
        var start = TimeProvider.System.GetTimestamp();
        var empty = Lists.Appraise(quote, Enumerable.Repeat((byte)'\n', 1_000_000).ToArray(), null, policy);
        Assert.Null(empty.Proven);
        Assert.Equal((ImaLog.MaxFindings, ImaLog.MaxMalformed), (empty.Findings.Length, empty.To));
        Assert.Equal(ImaLog.MaxMalformed + 2, empty.FindingCount);

        var large = new byte[100 * 1024 * 1024];
        Assert.Null(Lists.Appraise(quote, large, null, policy).Proven);
        Assert.Null(Lists.AppraiseBinary(quote, large, policy).Proven);
        large.AsSpan().Fill((byte)'a');
        Assert.Null(Lists.Appraise(quote, large, null, policy).Proven);
        var line = new List().Add("/bin/x").Lines[0];
        for (var at = 0; at + line.Length <= large.Length; at += line.Length)
            line.CopyTo(large, at);
        var repeated = Lists.Appraise(quote, large, null, policy);
        Assert.Null(repeated.Proven);
        Assert.Equal(ImaLog.MaxFindings, repeated.Findings.Length);
        Assert.True(TimeProvider.System.GetElapsedTime(start) < TimeSpan.FromSeconds(60), TimeProvider.System.GetElapsedTime(start).ToString());
    }

    // Of each entry: the size of its template's name, of its data (or, of template ima, of its name), and of the first field in them.
    private static IEnumerable<int> CountsOf(List list)
    {
        var at = 0;
        foreach (var entry in list.BinaryEntries)
        {
            var name = at + 4 + 20;
            yield return name;
            var data = name + 4 + entry[24];
            yield return entry[24] == 3 ? data + 20 : data;
            if (entry[24] != 3)
                yield return data + 4;
            at += entry.Length;
        }
    }
}
