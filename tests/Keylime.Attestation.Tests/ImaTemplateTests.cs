using System.Globalization;
using System.Text;
using CsCheck;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>Every template of the kernel, in both forms of the list, is hashed as the kernel hashes it.</summary>
public sealed class ImaTemplateTests : IDisposable
{
    private static readonly string Hex = List.HexOf("/bin/x");

    private readonly SoftwareTpm _tpm = new(TpmAlgorithm.Ecdsa);

    public static TheoryData<string, string[]> Templates => new()
    {
        { "ima", ["d", Hex[..40], "n", "/bin/x"] },
        { "ima-ng", ["d-ng", $"sha256:{Hex}", "n-ng", "/bin/x"] },
        { "ima-sig", ["d-ng", $"sha256:{Hex}", "n-ng", "/bin/x", "sig", ""] },
        { "ima-sig", ["d-ng", $"sha256:{Hex}", "n-ng", "/bin/x", "sig", "0302040123"] },
        { "ima-ngv2", ["d-ngv2", $"ima:sha256:{Hex}", "n-ng", "/bin/x"] },
        { "ima-ngv2", ["d-ngv2", $"verity:sha256:{Hex}", "n-ng", "/bin/x"] },
        { "ima-sigv2", ["d-ngv2", $"ima:sha256:{Hex}", "n-ng", "/bin/x", "sig", "030204"] },
        { "ima-modsig", ["d-ng", $"sha256:{Hex}", "n-ng", "/bin/x", "sig", "", "d-modsig", "", "modsig", ""] },
        { "ima-modsig", ["d-ng", $"sha256:{Hex}", "n-ng", "/bin/x", "sig", "0302", "d-modsig", $"sha512:{Hex}{Hex}", "modsig", "308201"] },
        { "evm-sig", ["d-ng", $"sha256:{Hex}", "n-ng", "/bin/x", "evmsig", "0502", "xattrnames", "security.ima|user.x", "xattrlengths", "0400000001000000", "xattrvalues", "0102030405", "iuid", "0", "igid", "4294967295", "imode", "33261"] },
        { "evm-sig", ["d-ng", $"sha256:{Hex}", "n-ng", "/bin/x", "evmsig", "", "xattrnames", "", "xattrlengths", "", "xattrvalues", "", "iuid", "", "igid", "", "imode", ""] },
        { "d-ng|n-ng|iuid", ["d-ng", $"sha256:{Hex}", "n-ng", "/bin/x", "iuid", "1000"] },
        { "d|n-ng|sig", ["d", Hex[..40], "n-ng", "/bin/x", "sig", ""] },
    };

    public void Dispose() => _tpm.Dispose();

    [Theory]
    [MemberData(nameof(Templates))]
    public void Template(string template, string[] fields)
    {
        var policy = Policies.Of([("/bin/x", [Hex, Hex[..40]])]);
        var list = new List().Add(template, [.. fields.Chunk(2).Select(f => (f[0], f[1]))]);
        foreach (var bank in (TpmAlgorithm[])[TpmAlgorithm.Sha1, TpmAlgorithm.Sha256, TpmAlgorithm.Sha384])
        {
            var quote = list.QuoteAfter(_tpm, 1, bank);
            foreach (var result in (ImaResult[])[Lists.Appraise(quote, list.Text, null, policy), Lists.AppraiseBinary(quote, list.Binary, policy)])
            {
                Assert.Equal("", result.Codes());
                Assert.Equal((1, 1), (result.Proven!.Entries, result.Tally.Digests));
            }
        }
    }

    /// <summary>Entries that kernels made: the template hash is theirs. Public: tests of Keylime, and documents of the kernel's integrity project.</summary>
    [Theory]
    [InlineData("10 d7026dc672344d3ee372217bdbc7395947788671 ima 6f66d1d8e2fffcc12dfcb78c04b81fe5b8bbae4e /usr/bin/kmod")]
    [InlineData("10 7936eb315fb4e74b99e7d461bc5c96049e1ee092 ima-ng sha1:bc026ae66d81713e4e852465e980784dc96651f8 /usr/lib/systemd/systemd")]
    [InlineData("10 5426cf3031a43f5bfca183d79950698a95a728f6 ima-sig sha256:f1125b940480d20ad841d26d5ea253edc0704b5ec1548c891edf212cb1a9365e /lib/modules/5.4.48-openpower1/kernel/drivers/usb/common/usb-common.ko ")]
    [InlineData("10 5d4d5141ccd5066d50dc3f21d79ba02fedc24256 ima-sig sha256:b8ae0b8dd04a5935cd8165aa2260cd11b658bd71629bdb52256a675a1f73907b /usr/bin/zmore 030204531f402500483046022100fe24678d21083ead47660e1a2d553a592d777c478d1b0466de6ed484b54956b3022100cad3adb37f277bbb03544d6107751b4cd4f2289d8353fa36257400a99334d5c3")]
    [InlineData("10 b7862dbbf1383ac6c7cca7f02d981a081aacb1f1 ima-buf sha1:6e0e6fc8a188ef4f059638949adca4d221946906 device_resume 6e616d653d544553543b757569643d43525950542d5645524954592d39656633326535623635623034343234613561386562343436636630653731332d544553543b63617061636974793d303b6d616a6f723d3235333b6d696e6f723d303b6d696e6f725f636f756e743d313b6e756d5f746172676574733d313b6163746976655f7461626c655f686173683d346565383065333365353635643336333430356634303238393436653837623365396563306335383661666639656630656436663561653762656237326431333b")]
    [InlineData("10 edee38d76b103e8823948d1a823296a46b44874c ima-sigv2 verity:sha256:f1a07ea07aa600a6eb4a61448ca16661a646356b9ff0b3b593b6796191173106 /tmp/fsverity-test/verity-hash.0Pc9Tz 0603046a098c9901004257cd57c26465ca1f97d03cdd403fcc0b05208e2a2ae20a6a9b96795a500d64fff0b0af914bf9268c98604ab26a746361a9bdf1f076dbaa0423ad05b6b5179e994a3188ef616e806ec8426cc0c158d1c7c0517793d71268536f84eec06b7fe81411f759896894428aae094fcee2239e0c370254a0250f51cb24de77d1d6a6f8f15a5b34fd1eec32748635947ceb005fb5a826ea6f30921200779be8283414f9794686ee169a4e89941eb4ae7bd366b75bcb7cb83ccda78b062bbfbd6de87c1e0275cfc68a31a116e7214863597ba9de67b6e957a511f5b5abddedcf57bb074fcb7b4eec7695b8600d36363ea43886278f76e1c7916c1cb90ceebefcd32a7587")]
    public void The_kernels_own_template_hash_is_met(string line)
    {
        var codes = Lists.Appraise(new List().Add("/x").QuoteAfter(_tpm, 1), Encoding.ASCII.GetBytes(line + "\n"), null, Policies.Allowing("/x")).Codes();
        Assert.DoesNotContain(FindingCodes.ImaTemplateHashMismatch, codes, StringComparison.Ordinal);
        Assert.DoesNotContain(FindingCodes.ImaLineMalformed, codes, StringComparison.Ordinal);
        Assert.Contains(FindingCodes.ImaPcrMismatch, codes, StringComparison.Ordinal); // it was read, and is of another machine
        var at = Math.Max(line.IndexOf('/', StringComparison.Ordinal), line.IndexOf("device_", StringComparison.Ordinal)); // in the path, which every template measures
        var changed = $"{line[..at]}_{line[(at + 1)..]}";
        Assert.Contains(
            FindingCodes.ImaTemplateHashMismatch,
            Lists.Appraise(new List().Add("/x").QuoteAfter(_tpm, 1), Encoding.ASCII.GetBytes(changed + "\n"), null, Policies.Allowing("/x")).Codes(),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Every_hash_of_the_kernel_is_a_files_hash()
    {
        foreach (var hash in Enum.GetValues<KernelHash>().Where(h => h.Size() >= 20)) // what is shorter no policy lists
        {
            var hex = string.Concat(Enumerable.Repeat("5a", hash.Size()));
            var list = new List().Add("ima-ng", ("d-ng", $"{hash.Name()}:{hex}"), ("n-ng", "/bin/x"));
            Assert.Equal("", Lists.Appraise(_tpm, list, Policies.Of([("/bin/x", [hex])])).Codes());

            // The right bytes under the name of a hash of another size are another digest.
            var mislabelled = new List().Add("ima-ng", ("d-ng", $"{(hash.Size() == 32 ? "sha1" : "sha256")}:{hex}"), ("n-ng", "/bin/x"));
            Assert.Equal(FindingCodes.ImaDigestNotAllowed, Lists.Appraise(_tpm, mislabelled, Policies.Of([("/bin/x", [hex])])).Codes());
            var unknown = new List().Add("ima-ng", ("d-ng", $"sha257:{hex}"), ("n-ng", "/bin/x"));
            Assert.Equal(FindingCodes.ImaDigestNotAllowed, Lists.Appraise(_tpm, unknown, Policies.Of([("/bin/x", [hex])])).Codes());
        }
    }

    [Theory]
    [InlineData("ima-next")]
    [InlineData("d-ng|n-ng|new")]
    [InlineData("d-ng|sig")]
    [InlineData("n-ng|d-ng")]
    [InlineData("buf|d-ng|n-ng")]
    [InlineData("d-ng|n-ng|n-ng")]
    [InlineData("d-ng|d|n-ng")]
    [InlineData("d-ng|n-ng|sig|sig")]
    [InlineData("|")]
    public void A_template_that_cannot_be_taken_apart_is_named(string template)
    {
        var list = new List().Add("/bin/0").Add(template, ("d-ng", $"sha256:{Hex}"), ("n-ng", "/bin/x")).Add("/bin/1");
        var quote = list.QuoteAfter(_tpm, 3);
        var policy = Policies.Allowing("/bin/0", "/bin/1");
        var text = Lists.Appraise(quote, list.Text, null, policy);
        Assert.Equal($"{FindingCodes.ImaTemplateUnsupported} {FindingCodes.ImaPcrMismatch}", text.Codes());
        Assert.Contains(template, text.Findings[0].Detail, StringComparison.Ordinal);
        Assert.Null(text.Proven);

        // In the binary form its bytes are there: they are proven, and nobody judges them.
        var binary = Lists.AppraiseBinary(quote, list.Binary, policy);
        Assert.Equal(FindingCodes.ImaTemplateUnsupported, binary.Codes());
        Assert.Equal(3, binary.Proven!.Entries);
    }

    [Fact]
    public void Both_forms_of_any_list_have_one_outcome()
    {
        var path = Gen.Char['!', '~'].Array[1, 30].Select(c => "/" + new string(c));
        Gen.Select(Gen.Int[0, 6], path, Gen.Byte.Array[0, 60]).Array[1, 20].Sample(entries =>
        {
            var list = new List();
            foreach (var (kind, name, bytes) in entries)
                Add(list, kind, name, bytes);
            var quote = list.QuoteAfter(_tpm, entries.Length);
            var policy = Policies.Allowing("/none");
            var (text, binary) = (Lists.Appraise(quote, list.Text, null, policy), Lists.AppraiseBinary(quote, list.Binary, policy));
            Assert.Equal(entries.Length, text.Proven!.Entries);
            Assert.Equal(text.Findings.Select(f => (f.Code, f.Detail)), binary.Findings.Select(f => (f.Code, f.Detail)));
            Assert.Equal((text.Proven.Entries, text.Tally), (binary.Proven!.Entries, binary.Tally));

            Assert.Equal((ImaListFormat.Text, ImaListFormat.Binary), (ImaList.FormatOf(list.Text), ImaList.FormatOf(list.Binary)));
            Assert.True(ImaList.TryRead(list.Text, ImaListFormat.Text, out var one, out var error), error);
            Assert.True(ImaList.TryRead(list.Binary, ImaListFormat.Binary, out var other, out error), error);
            Assert.Equal(one.Select(Describe), other.Select(Describe));
            Assert.Equal(entries.Select(e => e.Item2), one.Select(e => Encoding.UTF8.GetString(e.Path.Span)));
        }, iter: 200, threads: 1);
    }

    [Fact]
    public void A_list_from_its_start_counts_where_only_the_rest_was_asked_for()
    {
        var list = new List().Add("/bin/0").Add("/bin/1").Add("/bin/2");
        var policy = Policies.Allowing("/bin/0", "/bin/1", "/bin/2");
        var first = Lists.Appraise(list.QuoteAfter(_tpm, 1), list.Lines[0], null, policy).Proven!;
        var quote = list.QuoteAfter(_tpm, 3);
        var again = Lists.Appraise(quote, list.Text, first, policy);
        Assert.Equal("", again.Codes());
        Assert.Equal((0, 3, 3), (again.From, again.To, again.Proven!.Entries));
        var stale = Lists.Appraise(quote, list.Text, first with { ResetCount = first.ResetCount + 1 }, policy);
        Assert.Equal(("", 3), (stale.Codes(), stale.Proven!.Entries));

        // From a line that is neither the checkpoint's nor the first nothing leads to the quote.
        Assert.Equal(FindingCodes.ImaPcrMismatch, Lists.Appraise(quote, list.Lines[2], first, policy).Codes());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Judging_an_entry_allocates_nothing(bool compiled)
    {
        static (byte[] Text, VerifiedQuote Quote) Make(SoftwareTpm tpm, int count)
        {
            var list = new List();
            for (var i = 0; i < count; i++)
                list.Add(i % 2 == 0 ? "/bin/0" : "/bin/1");
            return (list.Text, list.QuoteAfter(tpm, count));
        }

        var policy = Policies.Allowing("/bin/0", "/bin/1");
        policy = compiled ? CompiledPolicyTests.Reopen(policy) : policy;
        var (few, many) = (Measure(Make(_tpm, 100)), Measure(Make(_tpm, 5000)));
        Assert.True(Math.Abs(many - few) < 1024, string.Create(CultureInfo.InvariantCulture, $"{few} bytes for 100 entries, {many} for 5,000"));

        long Measure((byte[] Text, VerifiedQuote Quote) made)
        {
            for (var warm = 0; warm < 3; warm++)
                Assert.Equal(0, Lists.Appraise(made.Quote, made.Text, null, policy).FindingCount);
            var before = GC.GetAllocatedBytesForCurrentThread();
            Lists.Appraise(made.Quote, made.Text, null, policy);
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }
    }

    private static string Describe(ImaEntry e) =>
        $"{e.Line} {e.Pcr} {e.Template} {Convert.ToHexString(e.Path.Span)} {e.Algorithm} {Convert.ToHexString(e.Digest.Span)} {Convert.ToHexString(e.Signature.Span)} {Convert.ToHexString(e.Buffer.Span)} {e.IsBuffer} {e.IsVerity} {e.IsViolation}";

    private static void Add(List list, int kind, string name, byte[] bytes)
    {
        _ = kind switch
        {
            0 => list.Add(name),
            1 => list.AddSigned(name, bytes),
            2 => list.AddBuffer(name, bytes),
            3 => list.Add("ima", ("d", List.HexOf(name)[..40]), ("n", name)),
            4 => list.Violate(name),
            5 => list.Add("ima-ngv2", ("d-ngv2", $"verity:sha512:{List.HexOf(name)}{List.HexOf(name)}"), ("n-ng", name)),
            _ => list.Add("ima-modsig", ("d-ng", $"sha256:{List.HexOf(name)}"), ("n-ng", name), ("sig", ""), ("d-modsig", $"sha1:{List.HexOf(name)[..40]}"), ("modsig", Convert.ToHexStringLower(bytes))),
        };
    }
}
