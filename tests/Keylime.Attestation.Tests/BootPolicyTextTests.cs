using System.Text;
using System.Text.Json.Nodes;
using CsCheck;
using static Keylime.Attestation.Tests.Boots;

namespace Keylime.Attestation.Tests;

/// <summary>The text of boot policies: what is refused, with its place; what is told though it is taken; and what two of them differ in.</summary>
public sealed class BootPolicyTextTests
{
    [Theory]
    [InlineData("", "")]
    [InlineData("null", "$")]
    [InlineData("[]", "$")]
    [InlineData("{", "")]
    [InlineData("{}", "would accept any boot")]
    [InlineData("""{"accept": "all"}""", "would accept any boot")]
    [InlineData("""{"events": {}}""", "$.version")]
    [InlineData("""{"version": 1, "pcrs": [7], "events": {}}""", "$.events")]
    [InlineData("""{"version": 1, "pcrs": [1], "events": {"volatile": {"boot-order": "x"}}}""", "$.events")]
    [InlineData("""{"version": 2, "pcrs": [7], "events": {"secure-boot": "on"}}""", "$.version")]
    [InlineData("""{"version": 1, "pcrs": [], "events": {"secure-boot": "on"}}""", "$.pcrs")]
    [InlineData("""{"version": 1, "pcrs": [10], "events": {"secure-boot": "on"}}""", "$.pcrs[0]")]
    [InlineData("""{"version": 1, "pcrs": [7, 7], "events": {"secure-boot": "on"}}""", "$.pcrs[1]")]
    [InlineData("""{"version": 1, "pcrs": [7, 24], "events": {"secure-boot": "on"}}""", "$.pcrs[1]")]
    [InlineData("""{"version": 1, "pcrs": ["7"], "events": {"secure-boot": "on"}}""", "$.pcrs[0]")]
    [InlineData("""{"version": 1, "pcrs": [7], "events": {"secure-boot": true}}""", "$.events.secure-boot")]
    [InlineData("""{"version": 1, "pcrs": [7], "events": {"secure-boot": "yes"}}""", "$.events.secure-boot")]
    [InlineData("""{"version": 1, "pcrs": [4], "events": {"secure-boot": "on"}}""", "which $.pcrs does not list")]
    [InlineData("""{"version": 1, "pcrs": [7], "events": {"secure-boot": "on"}, "more": 1}""", "$.more: an unknown member")]
    [InlineData("""{"version": 1, "pcrs": [7], "events": {"secure-boot": "on", "secureboot": "on"}}""", "$.events.secureboot")]
    [InlineData("""{"version": 1, "version": 1, "pcrs": [7], "events": {"secure-boot": "on"}}""", "$.version: the member is there twice")]
    [InlineData("""{"version": 1, "pcrs": [7], "events": {"databases": {"DB": {"equal": []}}}}""", "$.events.databases.DB")]
    [InlineData("""{"version": 1, "pcrs": [7], "events": {"databases": {"db": {}}}}""", "$.events.databases.db")]
    [InlineData("""{"version": 1, "pcrs": [7], "events": {"databases": {"db": {"equal": [], "at-most": []}}}}""", "$.events.databases.db")]
    [InlineData("""{"version": 1, "pcrs": [7], "events": {"databases": {"dbx": {"at-least": []}}}}""", "$.events.databases.dbx.at-least")]
    [InlineData("""{"version": 1, "pcrs": [7], "events": {"databases": {"db": {"equal": ["x509:00"]}}}}""", "$.events.databases.db.equal[0]")]
    [InlineData("""{"version": 1, "pcrs": [7], "events": {"databases": {"db": {"equal": [7]}}}}""", "$.events.databases.db.equal[0]")]
    [InlineData("""{"version": 1, "pcrs": [7], "events": {"databases": {"db": {"digests": ["D"]}}}, "about": 7}""", "$.about")]
    [InlineData("""{"version": 1, "pcrs": [4], "events": {"databases": {"MokList": {"digests": ["D"]}}}}""", "PCR 14")]
    [InlineData("""{"version": 1, "pcrs": [0], "events": {"firmware": []}}""", "$.events.firmware")]
    [InlineData("""{"version": 1, "pcrs": [0], "events": {"firmware": [{"name": "x", "digests": []}]}}""", "$.events.firmware[0]")]
    [InlineData("""{"version": 1, "pcrs": [0], "events": {"firmware": [{"name": "", "digests": ["D"]}]}}""", "$.events.firmware[0].name")]
    [InlineData("""{"version": 1, "pcrs": [0], "events": {"firmware": [{"name": "x", "digests": ["sha256:0"]}]}}""", "$.events.firmware[0].digests[0]")]
    [InlineData("""{"version": 1, "pcrs": [0], "events": {"firmware": [{"name": "x", "digests": ["md5:00000000000000000000000000000000"]}]}}""", "$.events.firmware[0].digests[0]")]
    [InlineData("""{"version": 1, "pcrs": [4], "events": {"boot": [{"name": "x"}]}}""", "$.events.boot[0]")]
    [InlineData("""{"version": 1, "pcrs": [4], "events": {"boot": [{"name": "x", "images": [{"role": "grub", "digests": ["D"]}]}]}}""", "$.events.boot[0].images[0].role")]
    [InlineData("""{"version": 1, "pcrs": [4], "events": {"boot": [{"name": "x", "images": [{"role": "shim", "digests": []}]}]}}""", "$.events.boot[0].images[0].digests")]
    [InlineData("""{"version": 1, "pcrs": [4], "events": {"boot": [{"name": "x", "images": [{"role": "shim", "digests": ["D"], "most": 0}]}]}}""", "$.events.boot[0].images[0].most")]
    [InlineData("""{"version": 1, "pcrs": [4], "events": {"boot": [{"name": "x", "initrd": ["D"]}]}}""", "PCR 9")]
    [InlineData("""{"version": 1, "pcrs": [8], "events": {"boot": [{"name": "x", "command-line": {}}]}}""", "$.events.boot[0].command-line")]
    [InlineData("""{"version": 1, "pcrs": [8], "events": {"boot": [{"name": "x", "command-line": {"patterns": ["("]}}]}}""", "$.events.boot[0].command-line.patterns")]
    [InlineData("""{"version": 1, "pcrs": [8], "events": {"boot": [{"name": "x", "command-line": {"patterns": ["(a)\\1"]}}]}}""", "$.events.boot[0].command-line.patterns")]
    [InlineData("""{"version": 1, "pcrs": [8], "events": {"boot": [{"name": "x", "command-line": {"texts": ["a\u0000"]}}]}}""", "$.events.boot[0].command-line.texts[0]")]
    [InlineData("""{"version": 1, "pcrs": [11], "events": {"boot": [{"name": "x", "sections": {"linux": ["D"]}}]}}""", "$.events.boot[0].sections.linux")]
    [InlineData("""{"version": 1, "pcrs": [2], "events": {"measured": [{"pcr": 2, "name": "x"}]}}""", "$.events.measured[0].digests")]
    [InlineData("""{"version": 1, "pcrs": [2], "events": {"measured": [{"pcr": 3, "name": "x", "digests": ["D"]}]}}""", "PCR 3")]
    [InlineData("""{"version": 1, "pcrs": [2], "events": {"measured": [{"pcr": 2, "name": "x", "digests": ["D"], "required": 1}]}}""", "$.events.measured[0].required")]
    [InlineData("""{"version": 1, "pcrs": [7], "events": {"variables": [{"variable": "SbatLevel", "values": ["D"]}]}}""", "$.events.variables[0].variable")]
    [InlineData("""{"version": 1, "pcrs": [7], "events": {"secure-boot": "on", "volatile": {"everything": "x"}}}""", "$.events.volatile.everything")]
    [InlineData("""{"version": 1, "pcrs": [1, 7], "events": {"secure-boot": "on", "volatile": {"boot-order": ""}}}""", "$.events.volatile.boot-order")]
    [InlineData("""{"version": 1, "pcrs": [1, 7], "events": {"secure-boot": "on", "volatile": {"boot-order": {"most": 1}}}}""", "$.events.volatile.boot-order.reason")]
    [InlineData("""{"version": 1, "pcrs": [7], "events": {"secure-boot": "on"}} {}""", "")]
    public void A_text_that_is_no_policy_is_refused_and_says_where(string text, string where)
    {
        var bytes = Encoding.UTF8.GetBytes(text.Replace("\"D\"", $"\"sha256:{new string('0', 64)}\"", StringComparison.Ordinal));
        Assert.False(BootPolicy.TryParse(bytes, out var policy, out var error));
        Assert.Null(policy);
        Assert.Contains(where, error, StringComparison.Ordinal);
        Assert.NotEmpty(error);
    }

    [Theory]
    [InlineData("scrtm_and_bios", "[]", "$.scrtm_and_bios")]
    [InlineData("scrtm_and_bios", """[{"scrtm": {}, "platform_firmware": []}]""", "$.scrtm_and_bios[0].scrtm")]
    [InlineData("scrtm_and_bios", """[{"scrtm": {"sha256": "00"}, "platform_firmware": []}]""", "$.scrtm_and_bios[0].scrtm.sha256")]
    [InlineData("scrtm_and_bios", """[{"scrtm": {"sha256": 0}, "platform_firmware": []}]""", "$.scrtm_and_bios[0].scrtm.sha256")]
    [InlineData("scrtm_and_bios", """[{"platform_firmware": []}]""", "$.scrtm_and_bios[0].scrtm")]
    [InlineData("kernels", "[]", "$.kernels")]
    [InlineData("kernels", "{}", "$.kernels")]
    [InlineData("kernels", """[{}]""", "$.kernels[0].")]
    [InlineData("pk", "7", "$.pk")]
    [InlineData("pk", """[{"SignatureOwner": "nobody", "SignatureData": "0x00"}]""", "$.pk[0].SignatureOwner")]
    [InlineData("pk", """[{"SignatureOwner": "77fa9abd-0359-4d32-bd60-28f4e78f784b", "SignatureData": "0x0"}]""", "$.pk[0].SignatureData")]
    [InlineData("dbx", """[{"SignatureOwner": "77fa9abd-0359-4d32-bd60-28f4e78f784b", "SignatureData": "0xAB"}]""", "$.dbx[0].SignatureData")]
    [InlineData("mokdig", "[1]", "$.mokdig[0]")]
    [InlineData("has_secureboot", "\"yes\"", "$.has_secureboot")]
    [InlineData("kek", null, "$.kek")]
    [InlineData("mokxdig", null, "$.mokxdig")]
    [InlineData("kernels", null, "$.kernels")]
    public void A_reference_state_with_a_member_that_is_wrong_or_missing_is_refused(string member, string? value, string where)
    {
        var policy = ReferenceState();
        if (value is null)
            policy.Remove(member);
        else
            policy[member] = JsonNode.Parse(value);
        Assert.False(BootPolicy.TryParse(Encoding.UTF8.GetBytes(policy.ToJsonString()), out _, out var error));
        Assert.Contains(where, error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_reference_state_may_have_members_that_nobody_knows_as_upstream_allows_them()
    {
        var policy = ReferenceState();
        policy["comment"] = "ours";
        policy["kernels"]![0]!["comment"] = "ours";
        policy.Remove("vendor_db"); // which old ones do not have
        policy.Remove("has_secureboot");
        Passes(policy, Debian());
    }

    [Fact]
    public void Fifty_megabytes_are_refused_before_they_are_read()
    {
        var text = Encoding.UTF8.GetBytes($$"""{"version": 1, "pcrs": [7], "events": {"secure-boot": "on"}, "about": "{{new string('x', 50 << 20)}}"}""");
        var start = TimeProvider.System.GetTimestamp();
        Assert.False(BootPolicy.TryParse(text, out _, out var error));
        Assert.Contains($"{BootPolicy.MaxBytes} at most", error, StringComparison.Ordinal);
        Assert.True(TimeProvider.System.GetElapsedTime(start) < TimeSpan.FromSeconds(5));
    }

    [Fact]
    public void Nested_text_ends_with_an_error_and_not_with_the_stack()
    {
        Assert.False(BootPolicy.TryParse(Encoding.UTF8.GetBytes($$"""{"events": {{new string('[', 100_000)}}"""), out _, out var error));
        Assert.NotEmpty(error);
    }

    [Fact]
    public void Text_that_is_no_UTF8_is_refused() => Assert.False(BootPolicy.TryParse(new byte[] { (byte)'{', (byte)'"', 0xff, (byte)'"', (byte)':', (byte)'1', (byte)'}' }, out _, out _));

    /// <summary>Patterns that would run for ever where they are matched by trying.</summary>
    [Theory]
    [InlineData("(a+)+x")]
    [InlineData("(a|aa)+x")]
    [InlineData("(.*)*x")]
    public void A_pattern_takes_linear_time_whatever_it_is(string pattern)
    {
        var policy = EventRules();
        policy["events"]!["boot"]![0]!["command-line"] = new JsonObject { ["patterns"] = new JsonArray($"/{pattern}") };
        var reference = ReferenceState();
        reference["kernels"]![0]!["kernel_cmdline"] = $"/{pattern}";
        var log = Debian();
        log.Without(Find(log, 8, "kernel_cmdline: ")).KernelCommandLine($"/{new string('a', 60_000)}");
        var start = TimeProvider.System.GetTimestamp();
        Fails(policy, log, FindingCodes.BootCommandLineNotAllowed);
        Fails(reference, log, FindingCodes.BootCommandLineNotAllowed);
        Assert.True(TimeProvider.System.GetElapsedTime(start) < TimeSpan.FromSeconds(30));
    }

    [Theory]
    [InlineData("databases", """{"db": {"at-least": ["x509:A"], "at-most": ["x509:B"]}}""", "$.events.databases.db: it can never match")]
    [InlineData("databases", """{"PK": {"equal": []}}""", "$.events.databases.PK: it can never match")]
    [InlineData("databases", """{"MokList": {"equal": []}}""", "$.events.databases.MokList: it can never match")]
    [InlineData("measured", """[{"pcr": 2, "name": "a", "digests": ["sha256:A", "sha256:B"]}, {"pcr": 2, "name": "b", "digests": ["sha256:A"]}]""", "$.events.measured[1]: it can never match")]
    [InlineData("loader-commands", """{"patterns": ["ls", ".*"]}""", "$.events.loader-commands.patterns[1]: the pattern matches any text")]
    [InlineData("volatile", """{"grub-files": "x"}""", "$.events.volatile.grub-files: which events are of this class is the log's word alone")]
    [InlineData("volatile", """{"boot-entries": "x", "network-boot-entries": "x"}""", "$.events.volatile.network-boot-entries")]
    [InlineData("volatile", """{"loader-commands": "x"}""", "$.events.loader-commands decides nothing")]
    [InlineData("secure-boot", "\"any\"", "$.events.secure-boot")]
    public void What_can_never_match_or_matches_everything_is_told(string member, string value, string warning)
    {
        var policy = EventRules();
        policy["events"]![member] = JsonNode.Parse(value.Replace(":A\"", $":{new string('a', 64)}\"", StringComparison.Ordinal).Replace(":B\"", $":{new string('b', 64)}\"", StringComparison.Ordinal));
        Assert.Contains(Policy(policy).Warnings, w => w.Contains(warning, StringComparison.Ordinal));
    }

    [Fact]
    public void A_policy_whose_rules_have_no_bank_in_common_is_told_so()
    {
        var policy = EventRules();
        policy["events"]!["measured"]![0]!["digests"] = new JsonArray($"sha1:{new string('0', 40)}");
        Assert.Contains(Policy(policy).Warnings, w => w.Contains("no boot can pass", StringComparison.Ordinal));
    }

    [Fact]
    public void A_good_policy_is_warned_about_only_where_words_are_all_it_goes_by()
    {
        Assert.Equal(["$.events.volatile.handoff-tables: which events are of this class is the log's word alone: up to 1 unknown digest passes in PCR 1."], Policy(EventRules()).Warnings);
        Assert.Contains("names are not measured", Assert.Single(Policy(ReferenceState()).Warnings), StringComparison.Ordinal);
    }

    [Fact]
    public void The_example_in_the_documents_is_a_policy()
    {
        var text = File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "docs", "boot.md"));
        var example = text.Split("```json\n")[1].Split("```")[0];
        var whole = System.Text.RegularExpressions.Regex.Replace(example, ":([0-9a-f]{6})…", static m => $":{m.Groups[1].Value.PadRight(64, '0')}");
        var policy = Policy(Encoding.UTF8.GetBytes(whole));
        Assert.Equal(BootPolicyFormat.EventRules, policy.Format);
        Assert.Contains("grub-environment", Assert.Single(policy.Warnings), StringComparison.Ordinal); // no rule of it is in vain
        foreach (var name in VolatileClass.All.Select(static c => c.Name))
            Assert.Contains($"`{name}`", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Any_change_of_a_text_is_a_policy_or_an_error_with_words()
    {
        byte[][] texts = [Encoding.UTF8.GetBytes(EventRules().ToJsonString()), Encoding.UTF8.GetBytes(ReferenceState().ToJsonString())];
        Gen.Select(Gen.Int[0, 1], Gen.Int[0, 10_000], Gen.Byte).Sample((which, at, value) =>
        {
            var text = (byte[])texts[which].Clone();
            text[at % text.Length] = value;
            return BootPolicy.TryParse(text, out var policy, out var error) ? policy.Pcrs.Count > 0 : error.Length > 0;
        }, iter: 2_000);
    }

    [Fact]
    public void Two_policies_differ_in_words()
    {
        var (before, after) = (EventRules(), EventRules());
        Assert.Empty(BootPolicyDiff.Describe(Policy(before), Policy(after)));
        after["events"]!["boot"]![0]!["images"]![0]!["digests"] = new JsonArray(Digest("new shim"));
        after["events"]!["boot"]![0]!["initrd"]!.AsArray().Add(Digest("new initrd"));
        after["events"]!["databases"]!["dbx"]!["at-least"] = new JsonArray([.. Enumerable.Range(0, 12).Select(i => (JsonNode)Digest($"bad {i}"))]);
        after["events"]!["secure-boot"] = "any";
        after["events"]!["boot"]![0]!["command-line"] = JsonNode.Parse("""{"texts": ["/vmlinuz quiet"]}""");
        var lines = BootPolicyDiff.Describe(Policy(before), Policy(after));
        Assert.Contains("Secure Boot: on→any", lines);
        Assert.Contains($"shim: SHA-256 {Sha256("shim"u8)[..12]}…→{Sha256("new shim"u8)[..12]}…", lines);
        Assert.Contains($"initrd: +1 digest (SHA-256 {Sha256("new initrd"u8)[..12]}…)", lines);
        Assert.Contains("dbx, at least: +11 entries", lines);
        Assert.Contains("command line: +1 text (/vmlinuz quiet)", lines);
        Assert.Contains("command line (patterns): −1 pattern (/vmlinuz root=/dev/vda[0-9] quiet)", lines);
        Assert.Equal(6, lines.Length);
    }

    [Fact]
    public void Reference_states_differ_in_words_too()
    {
        var after = ReferenceState();
        after["kernels"]![0]!["kernel_cmdline"] = "/vmlinuz quiet";
        after["db"]!.AsArray().Add(Key("another"u8));
        var lines = BootPolicyDiff.Describe(Policy(ReferenceState()), Policy(after));
        Assert.Contains("command line: /vmlinuz root=/dev/vda2 quiet→/vmlinuz quiet", lines);
        Assert.Contains(lines, l => l.StartsWith("db: +1 entry", StringComparison.Ordinal));
        Assert.StartsWith("The first is a reference state", BootPolicyDiff.Describe(Policy(ReferenceState()), Policy(EventRules()))[0], StringComparison.Ordinal);
    }
}
