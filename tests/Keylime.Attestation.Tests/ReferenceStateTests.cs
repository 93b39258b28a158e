using System.Text;
using System.Text.Json.Nodes;
using Keylime.Testing;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;
using static Keylime.Attestation.Tests.Boots;

namespace Keylime.Attestation.Tests;

/// <summary>Keylime's measured-boot reference state: the rules of upstream's example policy, and where ours refuse more.</summary>
public sealed class ReferenceStateTests
{
    private const string ZeroHash = "0x0000000000000000000000000000000000000000000000000000000000000000";

    [Fact]
    public void A_boot_that_is_as_the_reference_state_says_passes()
    {
        var policy = Policy(ReferenceState());
        Assert.Equal((BootPolicyFormat.ReferenceState, PcrSet.Of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14)), (policy.Format, policy.Pcrs));
        Passes(ReferenceState(), Debian());
    }

    [Fact]
    public void A_kernel_that_is_measured_twice_passes_as_it_does_upstream() =>
        Passes(ReferenceState(), Debian().AddMeasured(4, BootEventTypes.BootServicesApplication, BootData.Image([]), "kernel, Authenticode"u8));

    [Fact]
    public void What_a_boot_need_not_have_upstream_it_need_not_have_here()
    {
        var log = Debian();
        foreach (var pcr in (int[])[1, 2, 5])
        {
            while (log.Events.Index().FirstOrDefault(e => e.Item.Pcr == pcr && e.Item.Type != BootEventTypes.Separator).Index is > 0 and var index)
                log.Events.RemoveAt(index);
        }

        Passes(ReferenceState(), log);
    }

    /// <summary>A value of the reference state is changed, and the boot is another one than it describes.</summary>
    [Theory]
    [InlineData("kernels", "shim_authcode_sha256", BootImageNotAllowed, "the shim is not in the policy")]
    [InlineData("kernels", "grub_authcode_sha256", BootImageNotAllowed, "the boot loader is not in the policy")]
    [InlineData("kernels", "kernel_authcode_sha256", BootImageNotAllowed, "the kernel is not in the policy")]
    [InlineData("kernels", "initrd_plain_sha256", BootImageNotAllowed, "the initrd is not in the policy")]
    public void A_program_that_the_reference_state_does_not_have_is_named_with_its_digest(string list, string member, string code, string words)
    {
        var policy = ReferenceState();
        policy[list]![0]![member] = ZeroHash;
        var finding = Fails(policy, Debian(), code);
        Assert.Contains(words, finding.Detail, StringComparison.Ordinal);
        Assert.Contains($"its SHA-256 is {finding.Event!.Seen["sha256:".Length..]}", finding.Detail, StringComparison.Ordinal);
        Assert.StartsWith($"PCR {finding.Event.Pcr}, event {finding.Event.Index}: ", finding.Detail, StringComparison.Ordinal);
        Assert.Equal($"sha256:{ZeroHash[2..]}", finding.Event.Expected);
    }

    [Theory]
    [InlineData("pk")]
    [InlineData("kek")]
    [InlineData("db")]
    public void A_key_that_the_reference_state_does_not_list_is_a_finding_and_one_more_that_it_lists_is_none(string member)
    {
        var policy = ReferenceState();
        policy[member]!.AsArray().Add(Key("one more"u8));
        Passes(policy, Debian());
        policy[member]!.AsArray().RemoveAt(0);
        var finding = Fails(policy, Debian(), BootDatabaseNotAllowed);
        Assert.Equal(7, finding.Event!.Pcr);
        policy[member] = new JsonArray();
        Fails(policy, Debian(), BootDatabaseNotAllowed);
    }

    [Fact]
    public void The_owner_of_a_key_counts_in_either_byte_order()
    {
        var policy = ReferenceState();
        policy["pk"]![0]!["SignatureOwner"] = new Guid(BootData.Owner.ToByteArray(), bigEndian: true).ToString(); // as tpm2-tools before 5.2 wrote it
        Passes(policy, Debian());
        policy["pk"]![0]!["SignatureOwner"] = Guid.Empty.ToString();
        Fails(policy, Debian(), BootDatabaseNotAllowed);
    }

    [Fact]
    public void The_dbx_has_all_that_the_reference_state_forbids_in_one_list_and_may_have_more()
    {
        var policy = ReferenceState();
        policy["dbx"]!.AsArray().RemoveAt(0);
        Passes(policy, Debian());
        policy["dbx"]!.AsArray().Add(Key(new byte[32]));
        Assert.Contains("lacks 1 of the 2", Fails(policy, Debian(), BootDatabaseNotAllowed).Detail, StringComparison.Ordinal);

        var two = Debian().Set("dbx", [.. BootData.Sha256List("bad 1"u8, "bad 2"u8), .. BootData.X509List("revoked"u8)]);
        Fails(ReferenceState(), two, BootDatabaseNotAllowed); // upstream's rule is of one list
    }

    [Theory]
    [InlineData("/vmlinuz root=/dev/vda2 quiet", true)]
    [InlineData(".*", true)]
    [InlineData("/vmlinuz root=/dev/vda[0-9]+ (quiet|splash)", true)]
    [InlineData("no|.*", true)] // as upstream: the pattern is behind "kernel_cmdline: ", so its second branch is alone
    [InlineData("/vmlinuz.*|no", true)]
    [InlineData("no|/vmlinuz.*", false)]
    [InlineData("/vmlinuz", false)]
    [InlineData("root=/dev/vda2 quiet", false)]
    [InlineData("", false)]
    public void The_command_line_matches_as_a_whole(string pattern, bool passes)
    {
        var policy = ReferenceState();
        policy["kernels"]![0]!["kernel_cmdline"] = pattern;
        if (passes)
            Passes(policy, Debian());
        else
            Assert.Contains("'/vmlinuz root=/dev/vda2 quiet' does not match", Fails(policy, Debian(), BootCommandLineNotAllowed).Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void Of_several_kernels_one_has_to_fit_in_all_and_the_nearest_is_told()
    {
        var policy = ReferenceState();
        var other = policy["kernels"]![0]!.DeepClone();
        other["initrd_plain_sha256"] = ZeroHash;
        other["grub_authcode_sha256"] = ZeroHash;
        policy["kernels"]!.AsArray().Insert(0, other);
        Passes(policy, Debian());

        policy["kernels"]![1]!["shim_authcode_sha256"] = ZeroHash;
        var finding = Fails(policy, Debian(), BootImageNotAllowed);
        Assert.Contains("of 2 alternatives, kernel 2 is the nearest", finding.Detail, StringComparison.Ordinal);
        Assert.Equal(1, Appraise(policy, Debian()).FindingCount);
    }

    [Theory]
    [InlineData("version")]
    [InlineData("blob")]
    [InlineData("one more")]
    [InlineData("one less")]
    public void The_firmware_is_the_whole_sequence(string what)
    {
        var policy = ReferenceState();
        var firmware = policy["scrtm_and_bios"]![0]!;
        switch (what)
        {
            case "version":
                firmware["scrtm"] = Hashed(BootData.Utf16("0.9"));
                break;
            case "blob":
                firmware["platform_firmware"]![0] = Hashed("old firmware"u8);
                break;
            case "one more":
                firmware["platform_firmware"]!.AsArray().Add(Hashed("more"u8));
                break;
            default:
                firmware["platform_firmware"]!.AsArray().Clear();
                break;
        }

        var finding = Appraise(policy, Debian()).Findings[0];
        Assert.Contains(finding.Code, (string[])[BootFirmwareNotAllowed, BootEventMissing]);
        Assert.Equal(0, finding.Event!.Pcr);
    }

    [Fact]
    public void Only_digests_of_the_quoted_bank_are_proven_so_only_they_count()
    {
        var policy = ReferenceState();
        policy["mokdig"] = new JsonArray(new JsonObject { ["sha1"] = "0x0000000000000000000000000000000000000000" });
        Assert.Contains("a digest of sha1", Fails(policy, Debian(), BootDatabaseNotAllowed).Event!.Expected, StringComparison.Ordinal);

        var both = Debian(TpmAlgorithm.Sha1, TpmAlgorithm.Sha256);
        var parsed = Policy(ReferenceState());
        Assert.True(Appraise(parsed, both).Pass);
        Assert.False(Appraise(parsed, both, TpmAlgorithm.Sha1).Pass); // upstream is content with a digest that no quote covers
    }

    [Fact]
    public void Secure_Boot_is_on_or_off_as_the_reference_state_says()
    {
        Fails(ReferenceState(), Debian().Set("SecureBoot", [0]), BootSecureBootOff);

        var off = ReferenceState();
        off["has_secureboot"] = false;
        off["kernels"]![0]!["vmlinuz_plain_sha256"] = $"0x{Sha256("kernel"u8)}";
        var log = Debian().Set("SecureBoot", [0]);
        log.Without(Find(log, 4, BootEventTypes.BootServicesApplication, skip: 2)); // without Secure Boot GRUB does not ask the firmware to load the kernel
        Passes(off, log);
        Fails(off, Debian(), BootSecureBootOff);
        off["kernels"]![0]!["vmlinuz_plain_sha256"] = ZeroHash;
        Fails(off, log, BootImageNotAllowed);
    }

    /// <summary>Events that are known to nobody, or come once too often.</summary>
    [Theory]
    [InlineData(0, BootEventTypes.NonhostInfo)]
    [InlineData(1, BootEventTypes.TableOfDevices)]
    [InlineData(1, BootEventTypes.HandoffTables)] // a second one
    [InlineData(2, BootEventTypes.RuntimeServicesDriver)]
    [InlineData(4, BootEventTypes.BootServicesDriver)]
    [InlineData(5, BootEventTypes.EventTag)]
    [InlineData(7, BootEventTypes.Ipl)]
    [InlineData(9, BootEventTypes.EventTag)]
    [InlineData(14, BootEventTypes.EventTag)]
    public void An_event_without_a_rule_is_refused_wherever_it_is(int pcr, uint type)
    {
        var log = Debian().Add(pcr, type, "whatever"u8);
        if (pcr == 0)
            log.MoveLastTo(2);
        var finding = Fails(ReferenceState(), log, BootReferenceState);
        Assert.Equal((pcr, BootEventTypes.NameOf(type)), (finding.Event!.Pcr, finding.Event.Type));
    }

    [Fact]
    public void Five_sets_of_configuration_flags_are_one_too_many()
    {
        var log = Debian();
        for (var i = 0; i < 4; i++)
            log.AddMeasured(1, BootEventTypes.PlatformConfigFlags, "ACPI DATA"u8, [(byte)i]);
        Passes(ReferenceState(), log);
        Fails(ReferenceState(), log.AddMeasured(1, BootEventTypes.PlatformConfigFlags, "ACPI DATA"u8, [9]), BootReferenceState);
    }

    [Fact]
    public void A_variable_whose_data_were_changed_in_the_log_is_no_variable()
    {
        // Secure Boot is off, and the log says that it is on. Upstream believes the log's data.
        var log = Debian().Set("SecureBoot", [0]);
        log.Change(Find(log, 7, BootEventTypes.VariableDriverConfig), e => e with { Data = BootData.Variable(EfiGuids.GlobalVariable, "SecureBoot", [1]) });
        var findings = Appraise(ReferenceState(), log).Findings;
        Assert.Contains(findings, f => f.Detail.Contains("not what was measured", StringComparison.Ordinal));
        Assert.Contains(findings, f => f.Code == BootEventMissing && f.Detail.Contains("SecureBoot", StringComparison.Ordinal));
    }

    [Fact]
    public void A_database_that_the_log_calls_an_authority_does_not_escape_its_rule()
    {
        var log = Debian().Set("db", BootData.X509List("evil"u8));
        log.Change(Find(log, 7, BootEventTypes.VariableDriverConfig, skip: 3), e => e with { Type = BootEventTypes.VariableAuthority });
        var findings = Appraise(ReferenceState(), log).Findings;
        Assert.Contains(findings, f => f.Code == BootSeparator);
        Assert.Contains(findings, f => f.Code == BootEventMissing && f.Detail.Contains("variable db", StringComparison.Ordinal));
    }

    [Fact]
    public void A_log_that_does_not_speak_of_Secure_Boot_does_not_pass()
    {
        var log = Debian();
        while (log.Events.Index().FirstOrDefault(e => e.Item.Pcr == 7 && e.Item.Type != BootEventTypes.Separator).Index is > 0 and var index)
            log.Events.RemoveAt(index);
        Assert.Equal(5, Appraise(ReferenceState(), log).FindingCount); // upstream finds nothing wrong with it
    }

    [Fact]
    public void A_command_line_that_the_log_calls_a_command_is_judged_as_one()
    {
        // GRUB started another command line; the log swaps the words in front, which are not measured, and shows a harmless text as the command line.
        var log = Debian();
        log.Change(Find(log, 8, "kernel_cmdline: "), e => e with { Data = Encoding.UTF8.GetBytes("grub_cmd: /vmlinuz root=/dev/vda2 quiet\0") });
        Passes(ReferenceState(), log);
        log = Debian().KernelCommandLine("/vmlinuz root=/dev/vda2 init=/bin/sh");
        log.Change(Find(log, 8, "init=/bin/sh"), e => e with { Data = Encoding.UTF8.GetBytes("grub_cmd: /vmlinuz root=/dev/vda2 init=/bin/sh\0") });
        Fails(ReferenceState(), log, BootCommandLineNotAllowed);
    }

    [Fact]
    public void A_text_that_does_not_hash_to_its_digest_is_no_command_line()
    {
        var log = Debian();
        log.Change(Find(log, 8, "kernel_cmdline: "), e => e with { Data = Encoding.UTF8.GetBytes("kernel_cmdline: /vmlinuz root=/dev/vda2 quiet \0") });
        var policy = ReferenceState();
        policy["kernels"]![0]!["kernel_cmdline"] = ".*";
        Assert.Contains("not what was measured", Fails(policy, log, BootCommandLineNotAllowed).Detail, StringComparison.Ordinal);
    }
}
