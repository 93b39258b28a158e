using System.Security.Cryptography;
using System.Text;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>What a runtime policy can say of an entry beside its digest.</summary>
public sealed class RuntimeRuleTests : IDisposable
{
    private readonly SoftwareTpm _tpm = new(TpmAlgorithm.Ecdsa);
    private readonly FileSigner _signer = new();
    private readonly FileSigner _stranger = new();

    public void Dispose()
    {
        _tpm.Dispose();
        _signer.Dispose();
        _stranger.Dispose();
    }

    [Fact]
    public void A_verified_signature_accepts_a_file_that_no_list_names()
    {
        var policy = Policies.With($$$"""{"verification-keys":{{{FileSigner.QuotedKeys(_signer)}}}}""");
        var good = Appraise(new List().AddSigned("/bin/0", _signer.Sign("/bin/0")), policy);
        Assert.Equal(("", 1), (good.Codes(), good.Tally.Signatures));

        var other = Appraise(new List().AddSigned("/bin/0", _signer.Sign("/bin/1")), policy);
        Assert.Equal(FindingCodes.ImaSignatureInvalid, other.Codes());
        var unknown = Appraise(new List().AddSigned("/bin/0", _stranger.Sign("/bin/0")), policy);
        Assert.Equal(FindingCodes.ImaSignatureKeyUnknown, unknown.Codes());
        Assert.Contains($"{_stranger.Key.Id:x8}", unknown.Findings[0].Detail, StringComparison.Ordinal);
        Assert.Equal(FindingCodes.ImaNotInPolicy, Appraise(new List().AddSigned("/bin/0", []), policy).Codes());
        var broken = Appraise(new List().AddSigned("/bin/0", _signer.Sign("/bin/0")[..^1]), policy);
        Assert.Equal(FindingCodes.ImaNotInPolicy, broken.Codes());
        Assert.Contains("its signature does not count", broken.Findings[0].Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void A_listed_digest_accepts_what_no_signature_does_and_the_finding_tells_of_both()
    {
        var listed = Policies.With($$$"""{"digests":{"/bin/0":["{{{List.HexOf("/bin/0")}}}"]},"verification-keys":{{{FileSigner.QuotedKeys(_signer)}}}}""");
        Assert.Equal("", Appraise(new List().AddSigned("/bin/0", _stranger.Sign("/bin/0")), listed).Codes());
        Assert.Equal("", Appraise(new List().AddSigned("/bin/0", _signer.Sign("/bin/1")), listed).Codes());

        var changed = Policies.With($$$"""{"digests":{"/bin/0":["{{{List.HexOf("/bin/1")}}}"]},"verification-keys":{{{FileSigner.QuotedKeys(_signer)}}}}""");
        Assert.Equal("", Appraise(new List().AddSigned("/bin/0", _signer.Sign("/bin/0")), changed).Codes());
        var both = Appraise(new List().AddSigned("/bin/0", _stranger.Sign("/bin/0")), changed).Findings.Single();
        Assert.Equal(FindingCodes.ImaDigestNotAllowed, both.Code);
        Assert.Contains("signed with a key that the policy does not know", both.Detail, StringComparison.Ordinal);
        Assert.Equal(["sha256:" + List.HexOf("/bin/1")], both.File!.Allowed);
    }

    [Fact]
    public void A_key_that_the_kernel_loads_verifies_the_files_behind_it_also_in_the_next_attestation()
    {
        var policy = Policies.With($$$"""{"keyrings":{".ima":["{{{Hex(_signer.Spki)}}}"]}}""");
        var list = new List().AddBuffer(".ima", _signer.Spki).AddSigned("/bin/0", _signer.Sign("/bin/0"));
        var first = Appraise(list, policy);
        Assert.Equal(("", 1, 1), (first.Codes(), first.Tally.Keys, first.Tally.Signatures));
        Assert.Equal(".ima", first.Proven!.State.Keyrings.Rings.Single().Key);

        // The state goes through the bytes that the service keeps.
        Assert.True(ImaState.TryDecode(first.Proven.State.Encode(), out var kept, out var error), error);
        list.AddSigned("/bin/1", _signer.Sign("/bin/1"));
        Assert.Equal("", Lists.Appraise(_tpm, list, policy, first.Proven with { State = kept }).Codes());
        Assert.Equal(FindingCodes.ImaNotInPolicy, Lists.Appraise(_tpm, list, policy, first.Proven with { State = ImaState.Empty }).Codes());

        // Before the key is there it verifies nothing.
        Assert.Equal(FindingCodes.ImaNotInPolicy, Appraise(new List().AddSigned("/bin/0", _signer.Sign("/bin/0")).AddBuffer(".ima", _signer.Spki), policy).Codes());
    }

    [Fact]
    public void A_key_that_nobody_judged_is_not_learned()
    {
        var signed = new List().AddBuffer(".ima", _signer.Spki).AddSigned("/bin/0", _signer.Sign("/bin/0"));
        foreach (var lenient in (string[])
            [
                $$$"""{"keyrings":{".ima":["{{{Hex(_signer.Spki)}}}"]},"ima":{"ignored_keyrings":[".ima"],"log_hash_alg":"sha1"}}""",
                """{"digests":{"/x":["0000000000000000000000000000000000000000"]},"ima":{"ignored_keyrings":["*"],"log_hash_alg":"sha1"}}""",
                """{"digests":{"/x":["0000000000000000000000000000000000000000"]},"excludes":["\\.ima"]}""",
            ])
        {
            var result = Appraise(signed, Policies.With(lenient));
            Assert.Equal(FindingCodes.ImaNotInPolicy, result.Codes());
            Assert.True(result.Proven!.State.Keyrings.IsEmpty);
        }
    }

    [Fact]
    public void A_key_that_the_policy_does_not_list_is_named_by_its_keyring()
    {
        var policy = Policies.With($$$"""{"keyrings":{".ima":["{{{Hex(_signer.Spki)}}}"]}}""");
        var listed = Appraise(new List().AddBuffer(".ima", _stranger.Spki), policy).Findings.Single();
        Assert.Equal((FindingCodes.ImaKeyNotAllowed, ".ima"), (listed.Code, listed.File!.Path));
        Assert.Contains($"{_stranger.Key.Id:x8}", listed.Detail, StringComparison.Ordinal);
        Assert.Equal(FindingCodes.ImaKeyNotAllowed, Appraise(new List().AddBuffer(".evm", _signer.Spki), policy).Codes());
        Assert.Equal(FindingCodes.ImaKeyMalformed, Appraise(new List().AddBuffer(".ima", [1, 2, 3]), policy).Codes());
        // A key of a kind that nobody here can read may be loaded if it is listed.
        Assert.Equal("", Appraise(new List().AddBuffer(".ima", [1, 2, 3]), Policies.With($$$"""{"keyrings":{".ima":["{{{Hex([1, 2, 3])}}}"]}}""")).Codes());
    }

    [Fact]
    public void An_entry_whose_digest_is_not_that_of_its_bytes_teaches_nothing()
    {
        // Whoever may use the TPM can extend PCR 10 by an entry of their own: with the digest of a listed key, and the bytes of another.
        var policy = Policies.With($$$"""{"keyrings":{".ima":["{{{Hex(_signer.Spki)}}}"]}}""");
        var forged = new List().AddBuffer(".ima", _stranger.Spki, SHA256.HashData(_signer.Spki)).AddSigned("/bin/evil", _stranger.Sign("/bin/evil"));
        var result = Appraise(forged, policy);
        Assert.Equal($"{FindingCodes.ImaBufferMismatch} {FindingCodes.ImaNotInPolicy}", result.Codes());
        Assert.True(result.Proven!.State.Keyrings.IsEmpty);
    }

    [Fact]
    public void Buffers_are_judged_by_their_names_and_digests()
    {
        var line = Encoding.ASCII.GetBytes("root=/dev/vda1 ro quiet");
        var policy = Policies.With($$$"""{"digests":{"/x":["{{{Hex(line)}}}"]},"ima-buf":{"kexec-cmdline":["{{{Hex(line)}}}"]}}""");
        var good = Appraise(new List().AddBuffer("kexec-cmdline", line), policy);
        Assert.Equal(("", 1), (good.Codes(), good.Tally.Buffers));
        var other = Appraise(new List().AddBuffer("kexec-cmdline", Encoding.ASCII.GetBytes("init=/bin/sh")), policy).Findings.Single();
        Assert.Equal(FindingCodes.ImaBufferNotAllowed, other.Code);
        Assert.Contains("init=/bin/sh", other.Detail, StringComparison.Ordinal);
        Assert.Equal(FindingCodes.ImaBufferNotAllowed, Appraise(new List().AddBuffer("kernel_version", line), policy).Codes());
        Assert.Equal(FindingCodes.ImaBufferNotAllowed, Appraise(new List().AddBuffer("dm_table_load", line), policy).Codes());
        // A file's entry under a buffer's template, and the other way round, is judged by neither's list.
        Assert.Equal(FindingCodes.ImaBufferMismatch, Appraise(new List().Add("ima-buf", ("d-ng", $"sha256:{List.HexOf("/x")}"), ("n-ng", "/x"), ("buf", "")), policy).Codes());
        Assert.Equal(FindingCodes.ImaNotInPolicy, Appraise(new List().Add("ima-sig", ("d-ng", $"sha256:{Hex(line)}"), ("n-ng", "kexec-cmdline"), ("sig", Convert.ToHexStringLower(line))), policy).Codes());
    }

    [Fact]
    public void Device_mapper_events_are_judged_by_their_policy_and_kept()
    {
        const string table = "dm_version=4.45.0;name=root,uuid=CRYPT-VERITY-1,major=253,minor=0,minor_count=1,num_targets=1;target_index=0,target_begin=0,target_len=8,target_name=linear,target_version=1.4.0,device_name=7:0,start=0;";
        var rules = """{"digests":{"/x":["0000000000000000000000000000000000000000"]},"ima":{"ignored_keyrings":[],"log_hash_alg":"sha1","dm_policy":{"version":1,"match_on":"name","rules":{"root":{"required":true,"device_resume_required":false,"device_rename":{"valid_name":null,"valid_uuid":null},"device_remove":{"allow_removal":false},"allow_clear":false,"table_load":{"allow_multiple_loads":false,"name":"NAME","uuid":null,"major":null,"minor":null,"minor_count":null,"num_targets":1,"targets":[{"target_name":"linear"}]}}}}}}""";
        var policy = Policies.With(rules.Replace("NAME", "root", StringComparison.Ordinal));
        var list = new List().AddBuffer("dm_table_load", Encoding.ASCII.GetBytes(table));
        var good = Appraise(list, policy);
        Assert.Equal(("", 1), (good.Codes(), good.Tally.Devices));
        Assert.False(good.Proven!.State.Devices.IsEmpty);
        Assert.True(ImaState.TryDecode(good.Proven.State.Encode(), out var kept, out var error), error);

        // The same table a second time is one too many, also when the first came in the attestation before.
        list.AddBuffer("dm_table_load", Encoding.ASCII.GetBytes(table));
        var second = Lists.Appraise(_tpm, list, policy, good.Proven with { State = kept });
        Assert.NotEqual("", second.Codes());
        Assert.All(second.Findings, f => Assert.StartsWith("ima.dm_", f.Code, StringComparison.Ordinal));
        Assert.StartsWith("Line 1: ", second.Findings[0].Detail, StringComparison.Ordinal);

        // A device that the policy requires and that is not there is a finding.
        Assert.Equal(FindingCodes.ImaDmRuleUnused, Appraise(new List().Add("ima", ("d", new string('0', 40)), ("n", "/x")), policy).Codes());
    }

    [Fact]
    public void Violations_have_paths_and_a_budget_for_one_boot()
    {
        var policy = Policies.With($$$"""{"digests":{"/bin/0":["{{{List.HexOf("/bin/0")}}}"]},"violations":{"budget":2,"paths":["/var/log/.*"]}}""");
        var list = new List().Violate("/var/log/a").Violate("/a").Violate("/var/log/b").Violate("/b").Violate("/c").Violate("/d");
        var first = Lists.Appraise(list.QuoteAfter(_tpm, 3), list.Text, null, policy);
        Assert.Equal(("", 3, 3L, 1L), (first.Codes(), first.Tally.Violations, first.Proven!.State.Violations, first.Proven.State.BudgetSpent));

        var second = Lists.Appraise(_tpm, list, policy, first.Proven);
        Assert.Equal($"{FindingCodes.ImaViolationBudget} {FindingCodes.ImaViolationBudget}", second.Codes());
        Assert.Equal(("/c", 1), (second.Findings[0].File!.Path, second.Tally.Violations));
        Assert.Equal((4, 2), (second.Proven!.State.Violations, second.Proven.State.BudgetSpent));

        // Without a word of the policy each is a finding.
        Assert.Equal(FindingCodes.ImaViolation, Appraise(new List().Violate("/a"), Policies.Allowing("/bin/0")).Codes());
    }

    [Theory]
    [InlineData("check", 10, "sha256", "")]
    [InlineData("check", 8, "sha256", "")]
    [InlineData(null, 10, "sha256", "")]
    [InlineData("check", 10, "sha1", "ima.not_in_policy")]
    [InlineData("check", 9, "sha256", "ima.boot_aggregate")]
    [InlineData("allow", 9, "sha256", "")]
    [InlineData("off", 10, "sha256", "ima.not_in_policy")]
    public void The_boot_aggregate_is_computed_from_the_quote(string? mode, int pcrs, string label, string code)
    {
        var values = Enumerable.Range(0, 10).Select(i => SHA256.HashData([(byte)i])).ToArray();
        for (var i = 0; i < values.Length; i++)
            _tpm.Set(TpmAlgorithm.Sha256, i, values[i]);
        var digest = Convert.ToHexStringLower(SHA256.HashData([.. values.Take(pcrs).SelectMany(v => v)]));
        var rule = mode is null ? "" : $$$""","class-rules":{"boot_aggregate":{"mode":"{{{mode}}}","reason":"of this test"}}""";
        var policy = Policies.With($$$"""{"digests":{"/x":["{{{digest}}}"]}{{{rule}}}}""");
        var list = new List().Add("ima-ng", ("d-ng", $"{label}:{digest}"), ("n-ng", "boot_aggregate"));
        var quote = list.QuoteAfter(_tpm, 1, TpmAlgorithm.Sha256, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9);
        Assert.Equal(code, Lists.Appraise(quote, list.Text, null, policy).Codes());

        // Where the quote does not cover them only the list counts, and where it lists it that is enough.
        var few = list.QuoteAfter(_tpm, 1, TpmAlgorithm.Sha256, 0, 1);
        Assert.Equal(mode == "allow" ? "" : FindingCodes.ImaNotInPolicy, Lists.Appraise(few, list.Text, null, policy).Codes());
        if (label == "sha256")
            Assert.Equal("", Lists.Appraise(few, list.Text, null, Policies.With($$$"""{"digests":{"boot_aggregate":["{{{digest}}}"]}{{{rule}}}}""")).Codes());
    }

    [Fact]
    public void An_allowed_boot_aggregate_is_the_first_line_only()
    {
        var policy = Policies.With("""{"digests":{"/x":["0000000000000000000000000000000000000000"]},"class-rules":{"boot_aggregate":{"mode":"allow","reason":"virtual machines without PCRs"}}}""");
        Assert.Equal(FindingCodes.ImaNotInPolicy, Appraise(new List().Add("boot_aggregate").Add("boot_aggregate"), policy).Codes());
    }

    [Fact]
    public void Class_rules_admit_what_no_list_can_name_and_only_when_they_are_on()
    {
        const string off = """{"digests":{"/bin/0":["DIGEST"]}}""";
        const string on = """{"digests":{"/bin/0":["DIGEST"]},"class-rules":{"memfd":{"mode":"allow","reason":"runc"},"dpkg-temporary":{"mode":"allow","reason":"unattended-upgrades"}}}""";
        RuntimePolicy Of(string text) => Policies.With(text.Replace("DIGEST", List.HexOf("/bin/0"), StringComparison.Ordinal));
        var content = List.DigestOf("/bin/0");
        foreach (var (path, digest, accepted) in ((string, byte[], bool)[])
            [
                ("memfd:kernel", List.DigestOf("x"), true),
                ("/memfd:kernel", List.DigestOf("x"), false),
                ("/bin/0.dpkg-new", content, true),
                ("/bin/0.dpkg-tmp", content, true),
                ("/bin/0.dpkg-new", List.DigestOf("evil"), false),
                ("/bin/1.dpkg-new", content, false),
                (".dpkg-new", content, false),
            ])
        {
            var list = new List().Add(Encoding.UTF8.GetBytes(path), digest);
            Assert.Equal(accepted ? "" : FindingCodes.ImaNotInPolicy, Appraise(list, Of(on)).Codes());
            Assert.Equal(FindingCodes.ImaNotInPolicy, Appraise(list, Of(off)).Codes());
        }

        Assert.Contains("'memfd' is off", Appraise(new List().Add("memfd:kernel"), Of(off)).Findings[0].Detail, StringComparison.Ordinal);
        Assert.Equal([("boot_aggregate", "check", true), ("memfd", "off", true), ("dpkg-temporary", "off", true)], Of(off).ClassRules.Select(r => (r.Name, r.Mode, r.IsDefault)));
        Assert.Equal([(null, true), ("runc", false), ("unattended-upgrades", false)], Of(on).ClassRules.Select(r => (r.Reason, r.IsDefault)));
        Assert.All(Of(on).ClassRules, r => Assert.NotEmpty(r.Meaning));
    }

    [Fact]
    public void A_digest_that_is_known_under_another_path_is_told_so()
    {
        var policy = Policies.Allowing("/usr/bin/ls", "/usr/bin/cat");
        var list = new List().Add("/tmp/ls"u8.ToArray(), List.DigestOf("/usr/bin/ls")).Add("/usr/bin/cat"u8.ToArray(), List.DigestOf("/usr/bin/ls")).Add("/tmp/x");
        var findings = Appraise(list, policy).Findings;
        Assert.Equal(["/usr/bin/ls", "/usr/bin/ls", null], findings.Select(f => f.File!.KnownAs));
        Assert.EndsWith("; the policy knows this digest as /usr/bin/ls.", findings[0].Detail, StringComparison.Ordinal);
        Assert.Equal(["sha256:" + List.HexOf("/usr/bin/cat")], findings[1].File!.Allowed);
    }

    private ImaResult Appraise(List list, RuntimePolicy policy) => Lists.Appraise(_tpm, list, policy);

    private static string Hex(byte[] buffer) => Convert.ToHexStringLower(SHA256.HashData(buffer));
}
