using System.Text;
using CsCheck;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>A measurement list is believed as far as the quote proves it, and judged line by line.</summary>
public sealed class ImaTests : IDisposable
{
    private static readonly string[] Pieces = ["10 ", "11 ", new string('0', 40) + " ", "ima-ng ", "ima-sig ", "sha256:", "00", " ", "\n", "/x", ":"];

    private readonly SoftwareTpm _tpm = new(TpmAlgorithm.Ecdsa);

    public void Dispose() => _tpm.Dispose();

    [Theory]
    [InlineData(TpmAlgorithm.Sha1)]
    [InlineData(TpmAlgorithm.Sha256)]
    [InlineData(TpmAlgorithm.Sha384)]
    public void A_list_that_leads_to_the_quoted_PCR_is_proven_in_any_bank(TpmAlgorithm bank)
    {
        var list = Sample(12);
        var quote = list.QuoteAfter(_tpm, 12, bank);
        var result = Lists.Appraise(quote, list.Text, null, AllowAll(12));
        Assert.Empty(result.Findings);
        Assert.Equal((12, bank), (result.Proven!.Entries, result.Proven.Bank));
        Assert.Equal(list.Pcr(bank, 12), result.Proven.Aggregate.ToArray());
    }

    [Fact]
    public void Lines_that_came_after_the_quote_are_not_judged()
    {
        var list = Sample(5).Add("/evil");
        var result = Lists.Appraise(list.QuoteAfter(_tpm, 5), list.Text, null, AllowAll(5));
        Assert.Empty(result.Findings);
        Assert.Equal((0, 5, 5), (result.From, result.To, result.Proven!.Entries));
    }

    [Fact]
    public void Wherever_a_list_is_cut_in_two_the_outcome_is_that_of_the_whole()
    {
        Gen.Select(Gen.Int[0, 12], Gen.Int[0, 11], Gen.Bool).Sample((cut, evil, violated) =>
        {
            var list = new List();
            for (var i = 0; i < 12; i++)
            {
                if (i == evil && violated)
                    list.Violate($"/bin/{i}");
                else
                    list.Add(i == evil ? "/evil" : $"/bin/{i}");
            }

            var policy = AllowAll(12);
            var whole = Lists.Appraise(list.QuoteAfter(_tpm, 12), list.Text, null, policy);
            var first = Lists.Appraise(list.QuoteAfter(_tpm, cut), Join(list.Lines.Take(cut)), null, policy);
            var second = Lists.Appraise(list.QuoteAfter(_tpm, 12), Join(list.Lines.Skip(cut)), cut == 0 ? null : first.Proven, policy);

            Assert.Equal(12, second.Proven!.Entries);
            Assert.Equal(whole.Proven!.Aggregate.ToArray(), second.Proven.Aggregate.ToArray());
            var parts = (cut == 0 ? [] : first.Findings).Concat(second.Findings);
            Assert.Equal(whole.Findings.Select(f => (f.Code, f.Detail)), parts.Select(f => (f.Code, f.Detail)));
            Assert.Single(whole.Findings);
        }, iter: 120, threads: 1);
    }

    [Fact]
    public void Any_list_that_was_altered_proves_nothing()
    {
        Gen.Select(Gen.Int[0, 5], Gen.Int[0, 9], Gen.Int[0, 9]).Sample((kind, a, b) =>
        {
            var list = Sample(10);
            var lines = list.Lines.ToList();
            switch (kind)
            {
                case 0:
                    lines.RemoveAt(a);
                    break;
                case 1 when a != b:
                    (lines[a], lines[b]) = (lines[b], lines[a]);
                    break;
                case 2 when (a, b) != (9, 9): // the last line once more behind itself is behind what the quote proves
                    lines.Insert(a, lines[b]);
                    break;
                case 3:
                    lines.Insert(a, new List().Add("/evil").Lines[0]);
                    break;
                case 4:
                    lines[a] = new List().Add("/bin/other").Lines[0];
                    break;
                default:
                    lines.Reverse();
                    break;
            }

            var result = Lists.Appraise(list.QuoteAfter(_tpm, 10), Join(lines), null, AllowAll(10));
            Assert.Null(result.Proven);
            Assert.Contains(result.Findings, f => f.Code == FindingCodes.ImaPcrMismatch);
        }, iter: 300, threads: 1);
    }

    [Fact]
    public void Any_flipped_bit_is_a_finding()
    {
        var list = new List().Add("/bin/0").Add("/usr/bin/with space").Violate("/var/log/x").Add("/bin/3");
        var quote = list.QuoteAfter(_tpm, 4);
        var policy = Policies.Of([("/bin/0", [Digest("/bin/0")]), ("/usr/bin/with space", [Digest("/usr/bin/with space")]), ("/bin/3", [Digest("/bin/3")])], "/var/log/.*");
        Assert.Empty(Lists.Appraise(quote, list.Text, null, policy).Findings);
        var text = list.Text;
        for (var bit = 0; bit < text.Length * 8; bit++)
        {
            text[bit / 8] ^= (byte)(1 << bit % 8);
            var result = Lists.Appraise(quote, text, null, policy);
            // The name of a violated file is not measured: in such a line only zeros and template say what it is.
            var unmeasured = Enumerable.Range(0, 4).Any(i => i == 2 && IsInPathOf(list, i, bit / 8)) && result.Proven is not null;
            Assert.True(unmeasured || result.FindingCount > 0, $"bit {bit} of '{Encoding.Latin1.GetString(text)}'");
            text[bit / 8] ^= (byte)(1 << bit % 8);
        }
    }

    [Fact]
    public void Text_at_random_is_refused_and_nothing_is_thrown()
    {
        var quote = Sample(3).QuoteAfter(_tpm, 3);
        var policy = AllowAll(3);
        Gen.Byte.Array[0, 400].Sample(bytes => Assert.True(Lists.Appraise(quote, bytes, null, policy).FindingCount > 0), iter: 3000, threads: 1);
        Gen.Int[0, Pieces.Length - 1].Select(i => Pieces[i]).Array[0, 30].Sample(
            parts => Assert.True(Lists.Appraise(quote, Encoding.ASCII.GetBytes(string.Concat(parts)), null, policy).FindingCount > 0), iter: 3000, threads: 1);
    }

    [Fact]
    public void A_file_that_is_not_allowed_is_named_whole()
    {
        var list = new List().Add("/bin/0").Add("/opt/a b").Add(Encoding.UTF8.GetBytes("/bin/1"), new byte[32]);
        var policy = Policies.Of([("/bin/0", [Digest("/bin/0")]), ("/bin/1", [Digest("/bin/1"), new string('1', 40)])]);
        var result = Lists.Appraise(list.QuoteAfter(_tpm, 3), list.Text, null, policy);

        Assert.NotNull(result.Proven);
        Assert.Equal([FindingCodes.ImaNotInPolicy, FindingCodes.ImaDigestNotAllowed], result.Findings.Select(f => f.Code));
        var unknown = result.Findings[0].File!;
        Assert.Equal(("/opt/a b", "sha256:" + Digest("/opt/a b"), 1L), (unknown.Path, unknown.Seen, unknown.Line));
        Assert.Empty(unknown.Allowed);
        var changed = result.Findings[1].File!;
        Assert.Equal(("/bin/1", "sha256:" + new string('0', 64), 2L), (changed.Path, changed.Seen, changed.Line));
        Assert.Contains(Digest("/bin/1"), string.Join(' ', changed.Allowed), StringComparison.Ordinal);
    }

    [Fact]
    public void Findings_are_bounded_and_all_counted()
    {
        var list = new List();
        for (var i = 0; i < 100; i++)
            list.Add($"/evil/{i}");
        var result = Lists.Appraise(list.QuoteAfter(_tpm, 100), list.Text, null, AllowAll(1));
        Assert.Equal((ImaLog.MaxFindings, 100), (result.Findings.Length, result.FindingCount));
    }

    [Fact]
    public void A_violation_is_a_finding_unless_its_path_is_excluded()
    {
        var list = new List().Add("/bin/0").Violate("/var/log/x");
        var quote = list.QuoteAfter(_tpm, 2);
        var result = Lists.Appraise(quote, list.Text, null, AllowAll(1));
        Assert.Equal(FindingCodes.ImaViolation, result.Findings.Single().Code);
        Assert.Empty(Lists.Appraise(quote, list.Text, null, Policies.Of([("/bin/0", [Digest("/bin/0")])], "/var/log/.*")).Findings);
    }

    [Fact]
    public void Signed_lines_and_names_that_are_no_text_are_replayed()
    {
        var list = new List().Add("/bin/0"u8.ToArray(), List.DigestOf("/bin/0"), [3, 2, 4, 9]).Add("/bin/1"u8.ToArray(), List.DigestOf("/bin/1"), [])
            .Add([.. "/srv/caf"u8, 0xe9, 0x1b, .. "x"u8], new byte[32]);
        var result = Lists.Appraise(list.QuoteAfter(_tpm, 3), list.Text, null, AllowAll(2));
        Assert.NotNull(result.Proven);
        Assert.Equal(@"/srv/caf\xe9\x1bx", result.Findings.Single().File!.Path);
    }

    [Fact]
    public void A_checkpoint_of_another_boot_or_bank_is_stale()
    {
        var list = Sample(4);
        var quote = list.QuoteAfter(_tpm, 4);
        var good = new ImaCheckpoint(2, TpmAlgorithm.Sha256, list.Pcr(TpmAlgorithm.Sha256, 2), quote.Clock.ResetCount);
        Assert.Empty(Lists.Appraise(quote, Join(list.Lines.Skip(2)), good, AllowAll(4)).Findings);
        foreach (var stale in (ImaCheckpoint[])[good with { ResetCount = good.ResetCount + 1 }, good with { Bank = TpmAlgorithm.Sha1 }])
            Assert.Equal(FindingCodes.ImaCheckpointStale, Lists.Appraise(quote, Join(list.Lines.Skip(2)), stale, AllowAll(4)).Findings.Single().Code);
    }

    [Fact]
    public void An_empty_list_is_no_proof()
    {
        var measured = Lists.Appraise(Sample(2).QuoteAfter(_tpm, 2), default, null, AllowAll(2));
        Assert.Equal(FindingCodes.ImaPcrMismatch, measured.Findings.Single().Code);
        var nothing = Lists.Appraise(Sample(2).QuoteAfter(_tpm, 0), default, null, AllowAll(2));
        Assert.Equal(FindingCodes.ImaLogEmpty, nothing.Findings.Single().Code);
    }

    [Fact]
    public void The_template_hash_has_to_be_right_in_the_lists_own_algorithm()
    {
        var list = new List("SHA256").Add("/bin/0");
        Assert.True(RuntimePolicy.TryParse(Policies.Text([("/bin/0", [Digest("/bin/0")])], "sha256"), out var policy, out _));
        Assert.Empty(Lists.Appraise(list.QuoteAfter(_tpm, 1), list.Text, null, policy).Findings);
        Assert.Equal(FindingCodes.ImaTemplateHashMismatch, Lists.Appraise(list.QuoteAfter(_tpm, 1), list.Text, null, AllowAll(1)).Findings.Single().Code);
    }

    private static List Sample(int count)
    {
        var list = new List();
        for (var i = 0; i < count; i++)
            list.Add($"/bin/{i}");
        return list;
    }

    private static RuntimePolicy AllowAll(int count) => Policies.Allowing([.. Enumerable.Range(0, count).Select(i => $"/bin/{i}")]);

    private static string Digest(string path) => Convert.ToHexStringLower(List.DigestOf(path));

    private static byte[] Join(IEnumerable<byte[]> lines) => [.. lines.SelectMany(l => l)];

    private static bool IsInPathOf(List list, int line, int at)
    {
        var start = list.Lines.Take(line).Sum(l => l.Length);
        var path = list.Lines[line].AsSpan().LastIndexOf((byte)' ');
        return at >= start && at < start + list.Lines[line].Length && at - start > 10; // behind the PCR's number
    }
}
