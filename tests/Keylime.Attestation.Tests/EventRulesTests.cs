using System.Text;
using System.Text.Json.Nodes;
using Keylime.Testing;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;
using static Keylime.Attestation.Tests.Boots;

namespace Keylime.Attestation.Tests;

/// <summary>Event rules: each rule with a boot that passes, and attacks that do not.</summary>
public sealed class EventRulesTests
{
    [Fact]
    public void A_boot_whose_events_are_all_named_passes()
    {
        var policy = Policy(EventRules());
        Assert.Equal((BootPolicyFormat.EventRules, PcrSet.Of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 14)), (policy.Format, policy.Pcrs));
        Passes(EventRules(), Debian());
    }

    [Fact]
    public void A_log_that_is_not_proven_for_all_of_the_policys_PCRs_does_not_pass()
    {
        var policy = Policy(EventRules());
        var appraisal = policy.Appraise(Prove(Debian(), PcrSet.Of(0, 1, 2, 3, 4, 5, 6, 7)));
        Assert.Equal([BootPcrNotQuoted, BootPcrNotQuoted, BootPcrNotQuoted, BootPcrNotQuoted], appraisal.Findings.Select(f => f.Code));
    }

    [Theory]
    [InlineData(0, BootEventTypes.NonhostInfo, BootFirmwareNotAllowed)]
    [InlineData(1, BootEventTypes.TableOfDevices, BootEventNotAllowed)]
    [InlineData(2, BootEventTypes.BootServicesDriver, BootEventNotAllowed)]
    [InlineData(3, BootEventTypes.EventTag, BootEventNotAllowed)]
    [InlineData(4, BootEventTypes.BootServicesApplication, BootImageNotAllowed)]
    [InlineData(4, BootEventTypes.CompactHash, BootImageNotAllowed)]
    [InlineData(5, BootEventTypes.EventTag, BootEventNotAllowed)]
    [InlineData(6, BootEventTypes.CompactHash, BootEventNotAllowed)]
    [InlineData(7, BootEventTypes.VariableAuthority, BootEventNotAllowed)]
    [InlineData(7, BootEventTypes.Ipl, BootEventNotAllowed)]
    [InlineData(8, BootEventTypes.EventTag, BootCommandLineNotAllowed)]
    [InlineData(9, BootEventTypes.Ipl, BootEventNotAllowed)]
    [InlineData(12, BootEventTypes.Ipl, BootCommandLineNotAllowed)]
    [InlineData(14, BootEventTypes.Ipl, BootEventNotAllowed)]
    public void An_event_that_no_rule_names_is_a_finding_whatever_it_is_called(int pcr, uint type, string code)
    {
        var log = Debian().AddMeasured(pcr, type, "whatever\0"u8, "something else"u8);
        log.MoveLastTo(pcr is 0 ? 3 : pcr is 5 ? log.Events.Count - 3 : log.Events.Count - 1);
        var appraisal = Appraise(EventRules(), log);
        var finding = Assert.Single(appraisal.Findings);
        Assert.Equal((code, 1, pcr), (finding.Code, appraisal.FindingCount, finding.Event!.Pcr));
        Assert.Equal(Digest("something else"), finding.Event.Seen);
        Assert.StartsWith($"PCR {pcr}, event {finding.Event.Index}: ", finding.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void Events_of_PCRs_that_the_policy_does_not_judge_are_not_looked_at() =>
        Passes(EventRules(), Debian().AddMeasured(11, BootEventTypes.Ipl, "whatever\0"u8, "something else"u8));

    /// <summary>The words that the issue asks for.</summary>
    [Fact]
    public void A_foreign_boot_loader_is_told_with_its_digest()
    {
        var log = Debian();
        var index = Find(log, 4, BootEventTypes.BootServicesApplication, skip: 1);
        log.Change(index, e => e with { Digests = [(TpmAlgorithm.Sha256, System.Security.Cryptography.SHA256.HashData("evil"u8))] });
        var finding = Assert.Single(Appraise(EventRules(), log).Findings);
        Assert.Equal(BootImageNotAllowed, finding.Code);
        Assert.Equal($"PCR 4, event {index}: the boot loader is not in the policy; its SHA-256 is {Sha256("evil"u8)}.", finding.Detail);
        Assert.Equal(new MeasuredEvent(4, index, "EV_EFI_BOOT_SERVICES_APPLICATION", Digest("grub"), Digest("evil")), finding.Event);
    }

    [Theory]
    [InlineData(0, "the shim was not started")]
    [InlineData(1, "the boot loader")]
    [InlineData(2, "the kernel was not started")]
    public void A_program_that_did_not_start_is_missed(int which, string words)
    {
        var log = Debian();
        log.Without(Find(log, 4, BootEventTypes.BootServicesApplication, which));
        var findings = Appraise(EventRules(), log).Findings;
        Assert.Contains(findings, f => f.Detail.Contains(which == 0 ? "the policy's boot loader, out of order" : words, StringComparison.Ordinal));
        Assert.Contains(findings, f => f.Code == BootEventMissing);
    }

    [Fact]
    public void A_step_may_come_as_often_as_it_says_and_no_more()
    {
        var log = Debian();
        log.AddMeasured(4, BootEventTypes.BootServicesApplication, BootData.Image([]), "kernel, Authenticode"u8);
        Passes(EventRules(), log);
        log.AddMeasured(4, BootEventTypes.BootServicesApplication, BootData.Image([]), "kernel, Authenticode"u8);
        Assert.Contains("one more program", Fails(EventRules(), log, BootImageNotAllowed).Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void A_step_that_need_not_come_may_be_left_out()
    {
        var policy = EventRules();
        policy["events"]!["boot"]![0]!["images"]![0]!["required"] = false;
        var log = Debian();
        log.Without(Find(log, 4, BootEventTypes.BootServicesApplication));
        Passes(policy, log);
        Passes(policy, Debian());
    }

    [Fact]
    public void A_program_before_the_separator_is_the_firmwares_and_never_a_boot_loader()
    {
        var log = Debian();
        var shim = log.Events[Find(log, 4, BootEventTypes.BootServicesApplication)];
        log.Events.Insert(Find(log, 4, BootEventTypes.Separator), shim);
        var findings = Appraise(EventRules(), log).Findings;
        Assert.Contains("before the separator", findings[0].Detail, StringComparison.Ordinal);
        Assert.Equal(BootImageNotAllowed, findings[0].Code);

        var policy = EventRules(); // the same program, named as one of the firmware's
        policy["events"]!["measured"]!.AsArray().Add(JsonNode.Parse($$"""{"pcr": 4, "name": "setup program", "digests": ["{{Digest("setup")}}"]}"""));
        log = Debian();
        log.AddMeasured(4, BootEventTypes.BootServicesApplication, BootData.Image([]), "setup"u8).MoveLastTo(Find(log, 4, BootEventTypes.Separator));
        Passes(policy, log);
        Assert.Equal(BootEventMissing, Assert.Single(Appraise(policy, Debian()).Findings).Code);
    }

    [Theory]
    [InlineData("KEK", "KEK", "another KEK", null)]
    [InlineData("KEK", "KEK", "evil", BootDatabaseNotAllowed)]
    [InlineData("PK", "PK", "evil", BootDatabaseNotAllowed)]
    [InlineData("db", "db", "evil", BootDatabaseNotAllowed)]
    public void A_database_holds_nothing_but_what_the_policy_lists(string name, string first, string second, string? code)
    {
        var log = Debian().Set(name, BootData.List(EfiGuids.X509, BootData.Signature(Encoding.UTF8.GetBytes(first)), BootData.Signature(Encoding.UTF8.GetBytes(second).AsSpan()[..Math.Min(first.Length, second.Length)])));
        if (second.Length > first.Length)
            log.Set(name, [.. BootData.X509List(Encoding.UTF8.GetBytes(first)), .. BootData.X509List(Encoding.UTF8.GetBytes(second))]);
        if (code is null)
            Passes(EventRules(), log);
        else
            Assert.Contains($"the {name} has 1 entry that the policy does not list: x509:", Fails(EventRules(), log, code).Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void Of_dbx_all_that_the_policy_lists_is_there()
    {
        Passes(EventRules(), Debian());
        var log = Debian().Set("dbx", BootData.Sha256List("bad 2"u8, "bad 3"u8));
        Assert.Contains("the dbx lacks 1 entry that the policy wants", Fails(EventRules(), log, BootDatabaseNotAllowed).Detail, StringComparison.Ordinal);
        Fails(EventRules(), Debian().Set("dbx", []), BootDatabaseNotAllowed);
    }

    [Fact]
    public void A_database_with_equal_has_each_entry_and_no_other()
    {
        var policy = EventRules();
        policy["events"]!["databases"]!["dbx"] = JsonNode.Parse($$"""{"equal": ["{{Digest("bad 1")}}", "{{Digest("bad 2")}}"]}""");
        Passes(policy, Debian());
        Fails(policy, Debian().Set("dbx", BootData.Sha256List("bad 1"u8, "bad 3"u8)), BootDatabaseNotAllowed);
        policy["events"]!["databases"]!["dbx"] = JsonNode.Parse("""{"equal": []}""");
        Fails(policy, Debian(), BootDatabaseNotAllowed);
        Passes(policy, Debian().Set("dbx", []));
    }

    [Fact]
    public void A_database_may_be_named_by_its_digest()
    {
        var policy = EventRules();
        policy["events"]!["databases"]!["db"] = JsonNode.Parse($$"""{"digests": ["sha256:{{Sha256(BootData.Variable(EfiGuids.ImageSecurityDatabase, "db", BootData.X509List("db"u8)))}}"]}""");
        Passes(policy, Debian());
        Fails(policy, Debian().Set("db", BootData.X509List("evil"u8)), BootDatabaseNotAllowed);
    }

    [Fact]
    public void Bad_sizes_in_a_signature_list_are_refused()
    {
        // A list that says it is longer than it is, so that its end would be read as an entry's data.
        foreach (var (list, header, size) in ((uint, uint, uint)[])[(60, 0, 18), (46, 1, 18), (46, 0, 0), (46, 0, 17), (0, 0, 18), (uint.MaxValue, 0, 18), (46, uint.MaxValue, 18)])
        {
            var log = Debian().Set("db", BootData.RawList(EfiGuids.X509, list, header, size, BootData.Signature("db"u8)));
            Fails(EventRules(), log, BootSignatureListMalformed);
            Fails(ReferenceState(), log, BootSignatureListMalformed);
        }
    }

    [Theory]
    [InlineData(new byte[] { 0 })]
    [InlineData(new byte[] { })]
    [InlineData(new byte[] { 2 })]
    [InlineData(new byte[] { 1, 1 })]
    public void Secure_Boot_is_on_only_with_the_value_1(byte[] value) => Fails(EventRules(), Debian().Set("SecureBoot", value), BootSecureBootOff);

    [Fact]
    public void Secure_Boot_may_be_asked_to_be_off_or_anything_but_has_to_be_measured()
    {
        var policy = EventRules();
        policy["events"]!["secure-boot"] = "off";
        Passes(policy, Debian().Set("SecureBoot", []));
        Fails(policy, Debian(), BootSecureBootOff);
        policy["events"]!["secure-boot"] = "any";
        Passes(policy, Debian());
        var log = Debian();
        log.Without(Find(log, 7, "SecureBoot", wide: true));
        Fails(policy, log, BootEventMissing);
    }

    [Fact]
    public void Secure_Boot_that_the_log_only_says_is_on_is_not_on()
    {
        var log = Debian().Set("SecureBoot", [0]);
        log.Change(Find(log, 7, "SecureBoot", wide: true), e => e with { Data = BootData.Variable(EfiGuids.GlobalVariable, "SecureBoot", [1]) });
        var findings = Appraise(EventRules(), log).Findings;
        Assert.Contains(findings, f => f.Detail.Contains("not what was measured", StringComparison.Ordinal));
        Assert.Contains(findings, f => f is { Code: BootEventMissing, Event.Pcr: 7 });
    }

    [Fact]
    public void A_database_that_the_log_calls_an_authority_is_judged_as_what_it_is()
    {
        var log = Debian().Set("db", BootData.X509List("evil"u8));
        log.Change(Find(log, 7, BootEventTypes.VariableDriverConfig, skip: 3), e => e with { Type = BootEventTypes.VariableAuthority });
        Assert.Contains("the db has 1 entry", Fails(EventRules(), log, BootDatabaseNotAllowed).Detail, StringComparison.Ordinal); // its place decides
    }

    [Fact]
    public void A_second_database_is_refused_even_if_it_is_good()
    {
        var log = Debian();
        var index = Find(log, 7, BootEventTypes.VariableDriverConfig, skip: 3);
        log.Events.Insert(index, log.Events[index]);
        Assert.Contains("a second time", Fails(EventRules(), log, BootEventNotAllowed).Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void An_image_that_ran_because_of_an_entry_that_db_does_not_have_is_refused()
    {
        var log = Debian().Set("db", BootData.Signature("evil"u8), authority: true);
        Assert.Contains("that db does not have", Fails(EventRules(), log, BootDatabaseNotAllowed).Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void The_entry_of_vendor_db_that_let_an_image_run_is_one_that_the_policy_lists()
    {
        var log = Debian().Variable(7, BootEventTypes.VariableAuthority, EfiGuids.ImageSecurityDatabase, "vendor_db", BootData.Signature("vendor"u8));
        Fails(EventRules(), log, BootDatabaseNotAllowed);
        var policy = EventRules();
        policy["events"]!["databases"]!["vendor_db"] = JsonNode.Parse($$"""{"at-most": ["x509:{{Sha256("vendor"u8)}}"]}""");
        Passes(policy, log);
        Passes(policy, Debian());
        Fails(policy, Debian().Variable(7, BootEventTypes.VariableAuthority, EfiGuids.ImageSecurityDatabase, "vendor_db", BootData.Signature("other"u8)), BootDatabaseNotAllowed);
    }

    [Theory]
    [InlineData("SbatLevel", "sbat,1,2021030218\n")]
    [InlineData("Shim", "0123456789abcdefevil")]
    [InlineData("MokListTrusted", "\0")]
    public void A_variable_has_a_value_that_the_policy_lists(string name, string value) =>
        Assert.Contains($"variable {name} has a value", Fails(EventRules(), Debian().Set(name, Encoding.UTF8.GetBytes(value), authority: true), BootEventNotAllowed).Detail, StringComparison.Ordinal);

    [Fact]
    public void A_variable_that_is_wanted_has_to_come_and_another_may_be_missing()
    {
        var log = Debian();
        log.Without(Find(log, 7, "MokListTrusted", wide: true));
        Passes(EventRules(), log);
        log.Without(Find(log, 7, "SbatLevel", wide: true));
        Assert.Contains("the variable SbatLevel was not measured", Fails(EventRules(), log, BootEventMissing).Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void Of_an_authority_of_old_shim_what_was_measured_counts()
    {
        var log = Debian(); // a byte more in the log than was measured
        var at = Find(log, 7, "SbatLevel", wide: true);
        log.Change(at, e => e with { Data = BootData.Variable(EfiGuids.ShimLock, "SbatLevel", "sbat,1,2024010900\n\0"u8) });
        log.Change(at, e => e with { Digests = [(TpmAlgorithm.Sha256, System.Security.Cryptography.SHA256.HashData(e.Data.AsSpan()[..^1]))] });
        Passes(EventRules(), log);
        Passes(ReferenceState(), log);
    }

    [Fact]
    public void The_same_name_of_another_vendor_is_another_variable() =>
        Fails(EventRules(), Debian().Variable(7, BootEventTypes.VariableAuthority, EfiGuids.GlobalVariable, "SbatLevel", "sbat,1,2024010900\n"u8), BootEventNotAllowed);

    [Fact]
    public void Shims_lists_are_known_by_their_digests_and_not_by_their_names()
    {
        var log = Debian();
        log.Change(Find(log, 14, BootEventTypes.Ipl), e => e with { Data = [.. "MokListX\0"u8] });
        Passes(EventRules(), log);
        log = Debian();
        log.Change(Find(log, 14, BootEventTypes.Ipl), e => e with { Digests = [(TpmAlgorithm.Sha256, new byte[32])] });
        Assert.Contains("the MokList is not in the policy; its SHA-256 is 0000", Fails(EventRules(), log, BootDatabaseNotAllowed).Detail, StringComparison.Ordinal);
        log = Debian();
        log.Without(Find(log, 14, BootEventTypes.Ipl));
        Fails(EventRules(), log, BootEventMissing);
    }

    [Fact]
    public void Two_empty_lists_of_shim_have_one_digest_and_both_count()
    {
        var policy = EventRules();
        policy["events"]!["databases"]!["MokList"] = JsonNode.Parse($$"""{"digests": ["{{Digest("")}}"]}""");
        policy["events"]!["databases"]!["MokListX"] = JsonNode.Parse($$"""{"digests": ["{{Digest("")}}"]}""");
        var log = Debian();
        log.Without(Find(log, 14, BootEventTypes.Ipl)).AddMeasured(14, BootEventTypes.Ipl, "MokList\0"u8, ""u8).AddMeasured(14, BootEventTypes.Ipl, "MokListX\0"u8, ""u8);
        Passes(policy, log);
    }
}
