using System.Text;
using System.Text.Json.Nodes;
using CsCheck;
using Keylime.Testing;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;
using static Keylime.Attestation.Tests.Boots;

namespace Keylime.Attestation.Tests;

/// <summary>Policies made out of good boots accept those boots, and no others.</summary>
public sealed class BootPolicyMakerTests
{
    [Fact]
    public void A_reference_state_is_what_upstream_would_make()
    {
        var made = Made(BootPolicyMaker.MakeReferenceState([Parse(Debian())]));
        var json = JsonNode.Parse(made.Utf8Json.Span)!.AsObject();
        Assert.True(JsonNode.DeepEquals(ReferenceState(), json), json.ToJsonString());
        Assert.True(Appraise(made.Policy, Debian()).Pass);
    }

    [Fact]
    public void A_reference_state_of_two_boots_accepts_both_and_no_mixture()
    {
        var updated = Updated();
        var made = Made(BootPolicyMaker.MakeReferenceState([Parse(Debian()), Parse(updated)]));
        Assert.True(Appraise(made.Policy, Debian()).Pass);
        Assert.True(Appraise(made.Policy, updated).Pass);
        var mixed = Debian();
        mixed.Without(Find(mixed, 9, "initrd")).GrubFile("(hd0,gpt2)/initrd.img", "new initrd"u8);
        Assert.False(Appraise(made.Policy, mixed).Pass);
        Assert.Equal(2, JsonNode.Parse(made.Utf8Json.Span)!["kernels"]!.AsArray().Count);
    }

    [Fact]
    public void Special_characters_of_a_command_line_are_themselves()
    {
        var log = Debian();
        log.Without(Find(log, 8, "kernel_cmdline: ")).KernelCommandLine("(hd0,gpt2)/vmlinuz-6.1+x root=UUID={a}? [b]|c$ *");
        Assert.True(Appraise(Made(BootPolicyMaker.MakeReferenceState([Parse(log)])).Policy, log).Pass);
    }

    [Fact]
    public void A_boot_that_a_reference_state_has_no_room_for_is_refused_with_the_reason()
    {
        var log = Debian();
        log.Without(Find(log, 9, "initrd"));
        Assert.Contains("the initrd is missing", Assert.Single(Refused(BootPolicyMaker.MakeReferenceState([Parse(log)]))), StringComparison.Ordinal);
        log = Debian().AddMeasured(9, BootEventTypes.EventTag, "x"u8, "x"u8);
        Assert.Contains("Boot 2: PCR 9, event", Assert.Single(Refused(BootPolicyMaker.MakeReferenceState([Parse(Debian()), Parse(log)]))), StringComparison.Ordinal);
        Assert.Contains("that takes two policies", Refused(BootPolicyMaker.MakeReferenceState([Parse(Debian()), Parse(Debian().Set("SecureBoot", [0]))]))[0], StringComparison.Ordinal);
    }

    [Fact]
    public void Event_rules_of_one_boot_accept_that_boot_and_nothing_else()
    {
        var made = Made(BootPolicyMaker.MakeEventRules([Parse(Debian())], new BootPolicyMakerOptions { About = "of a test" }));
        Assert.Equal(BootPolicyFormat.EventRules, made.Policy.Format);
        Assert.True(Appraise(made.Policy, Debian()).Pass);
        Assert.Contains(made.Notes, n => n.Contains("One boot does not show", StringComparison.Ordinal));

        // Every event that is changed is noticed, and every one that is left out, but: actions are judged where they are, for there is firmware that measures none;
        // an authority is the key that let an image in, and the image itself is named; and a command of GRUB that is not given allows nothing.
        for (var i = 1; i < Debian().Events.Count; i++)
        {
            var changed = Debian();
            var mayBeLeftOut = changed.Events[i].Type is BootEventTypes.EfiAction or BootEventTypes.VariableAuthority || changed.Events[i].Data.AsSpan().StartsWith("grub_cmd: "u8);
            if (!mayBeLeftOut)
                Assert.False(Appraise(made.Policy, Debian().Without(i)).Pass, $"without event {i}");
            changed.Change(i, e => e with { Digests = [(TpmAlgorithm.Sha256, new byte[32])] });
            Assert.False(Appraise(made.Policy, changed).Pass, $"with event {i} changed");
        }
    }

    [Fact]
    public void What_differs_between_boots_is_volatile_or_an_alternative()
    {
        var second = Updated();
        second.Without(Find(second, 1, BootEventTypes.VariableBoot)).BootVariable("BootOrder", BootData.U16(3));
        second.GrubCommand("set boot_success=1");
        second.Change(Find(second, 1, BootEventTypes.HandoffTables), e => e with { Digests = [(TpmAlgorithm.Sha256, new byte[32])] });
        var made = Made(BootPolicyMaker.MakeEventRules([Parse(Debian()), Parse(second)], new BootPolicyMakerOptions()));
        Assert.True(Appraise(made.Policy, Debian()).Pass);
        Assert.True(Appraise(made.Policy, second).Pass);

        var events = JsonNode.Parse(made.Utf8Json.Span)!["events"]!;
        Assert.Equal(["boot-order", "handoff-tables", "loader-commands"], events["volatile"]!.AsObject().Select(m => m.Key));
        Assert.Equal(1, events["volatile"]!["handoff-tables"]!["most"]!.GetValue<int>());
        Assert.Equal(2, events["boot"]!.AsArray().Count);
        Assert.Contains(made.Notes, n => n.StartsWith("Volatile class boot-order: boot ", StringComparison.Ordinal));

        Fails(JsonNode.Parse(made.Utf8Json.Span)!, Debian().BootVariable("Boot0009", BootData.LoadOption("x", BootData.PciPath())), BootEventNotAllowed);
    }

    [Fact]
    public void What_differs_and_is_of_no_class_is_refused_with_the_reason()
    {
        var second = Debian().AddMeasured(2, BootEventTypes.NonhostCode, "x"u8, "a card"u8);
        var reason = Assert.Single(Refused(BootPolicyMaker.MakeEventRules([Parse(Debian()), Parse(second)], new BootPolicyMakerOptions())));
        Assert.Contains("Boot 2: PCR 2, event", reason, StringComparison.Ordinal);
        Assert.Contains("of no volatile class", reason, StringComparison.Ordinal);
    }

    [Fact]
    public void A_class_may_be_asked_for_before_anything_differs()
    {
        var options = new BootPolicyMakerOptions { Volatile = ["boot-order", "boot-entries", "partition-table"] };
        var made = Made(BootPolicyMaker.MakeEventRules([Parse(Debian())], options));
        var log = Debian();
        log.Without(Find(log, 1, BootEventTypes.VariableBoot)).BootVariable("BootOrder", BootData.U16(3)).BootVariable("Boot0003", BootData.LoadOption("x", BootData.PciPath()));
        Assert.True(Appraise(made.Policy, log).Pass);
        Assert.Contains("no volatile class", Refused(BootPolicyMaker.MakeEventRules([Parse(Debian())], new BootPolicyMakerOptions { Volatile = ["everything"] }))[0], StringComparison.Ordinal);
    }

    [Fact]
    public void Keys_of_several_boots_are_taken_together_and_dbx_is_what_all_have()
    {
        var second = Debian().Set("dbx", BootData.Sha256List("bad 2"u8, "bad 3"u8)).Set("KEK", BootData.X509List("new KEK"u8));
        var made = Made(BootPolicyMaker.MakeEventRules([Parse(Debian()), Parse(second)], new BootPolicyMakerOptions()));
        var databases = JsonNode.Parse(made.Utf8Json.Span)!["events"]!["databases"]!;
        Assert.Equal([Digest("bad 2")], databases["dbx"]!["at-least"]!.AsArray().Select(n => n!.GetValue<string>()));
        Assert.Equal(2, databases["KEK"]!["at-most"]!.AsArray().Count);
        Assert.Single(databases["PK"]!["equal"]!.AsArray());
    }

    [Fact]
    public void A_kernel_that_the_firmware_starts_by_itself_makes_a_policy_too()
    {
        var log = DirectBoot("root=/dev/vda2", "initrd");
        var made = Made(BootPolicyMaker.MakeEventRules([Parse(log)], new BootPolicyMakerOptions()));
        Assert.True(Appraise(made.Policy, log).Pass);
        Assert.Equal(BootCommandLineNotAllowed, Assert.Single(Appraise(made.Policy, DirectBoot("root=/dev/vda2 init=/bin/sh", "initrd")).Findings.Where(f => f.Code != BootEventMissing)).Code);
        Assert.Contains("the initrd is not in the policy", Appraise(made.Policy, DirectBoot("root=/dev/vda2", "evil")).Findings[0].Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void Of_any_log_there_comes_a_policy_that_accepts_it_or_a_reason()
    {
        var good = Debian().Build();
        Gen.Select(Gen.Int[0, good.Length - 1], Gen.Byte).Sample((at, value) =>
        {
            var bytes = (byte[])good.Clone();
            bytes[at] = value;
            if (!BootLog.TryParse(bytes, out var log, out _))
                return true;
            return ((BootPolicyDraft[])[BootPolicyMaker.MakeReferenceState([log]), BootPolicyMaker.MakeEventRules([Parse(Debian()), log], new BootPolicyMakerOptions())])
                .All(draft => draft is BootPolicyDraft.Made made ? made.Policy.PreviewUnproven(log, TpmAlgorithm.Sha256).Pass : draft is BootPolicyDraft.Refused { Reasons.IsEmpty: false });
        }, iter: 500);
    }

    [Fact]
    public void Boots_that_no_separator_ends_are_no_models()
    {
        var log = Debian();
        log.Without(Find(log, 4, BootEventTypes.Separator));
        Assert.Contains("Boot 1: PCR 4: the separator is missing", Refused(BootPolicyMaker.MakeEventRules([Parse(log)], new BootPolicyMakerOptions()))[0], StringComparison.Ordinal);
        Assert.Single(Refused(BootPolicyMaker.MakeEventRules([], new BootPolicyMakerOptions())));
        Assert.Contains("no digests of sha384", Refused(BootPolicyMaker.MakeEventRules([Parse(Debian())], new BootPolicyMakerOptions { Bank = TpmAlgorithm.Sha384 }))[0], StringComparison.Ordinal);
    }

    // As QEMU's -kernel with OVMF: PCR 4 has the kernel, PCR 9 what Linux's EFI stub measures.
    private static BootLogBuilder DirectBoot(string line, string initrd)
    {
        var log = new BootLogBuilder(TpmAlgorithm.Sha256).Add(0, BootEventTypes.CrtmVersion, [0, 0])
            .AddMeasured(0, BootEventTypes.FirmwareBlob, BootData.Blob(1, 2), "firmware"u8)
            .Variable(7, BootEventTypes.VariableDriverConfig, EfiGuids.GlobalVariable, "SecureBoot", []);
        foreach (var (vendor, name) in ((Guid, string)[])[(EfiGuids.GlobalVariable, "PK"), (EfiGuids.GlobalVariable, "KEK"), (EfiGuids.ImageSecurityDatabase, "db"), (EfiGuids.ImageSecurityDatabase, "dbx")])
            log.Variable(7, BootEventTypes.VariableDriverConfig, vendor, name, []);
        for (var pcr = 0; pcr < 8; pcr++)
            log.Separator(pcr);
        return log.AddMeasured(4, BootEventTypes.BootServicesApplication, BootData.Image([]), "kernel"u8)
            .AddMeasured(9, BootEventTypes.EventTag, BootData.Tagged(TaggedItem.LinuxInitrd, "Linux initrd\0"u8), Encoding.UTF8.GetBytes(initrd))
            .AddMeasured(9, BootEventTypes.EventTag, BootData.Tagged(TaggedItem.LinuxLoadOptions, "LOADED_IMAGE::LoadOptions\0"u8), BootData.Utf16(line));
    }

    private static BootLogBuilder Updated()
    {
        var log = Debian();
        log.Without(Find(log, 9, "initrd")).GrubFile("(hd0,gpt2)/initrd.img", "new initrd"u8);
        log.Without(Find(log, 9, "vmlinuz")).GrubFile("(hd0,gpt2)/vmlinuz", "new kernel"u8);
        log.Without(Find(log, 4, BootEventTypes.BootServicesApplication, skip: 2)).AddMeasured(4, BootEventTypes.BootServicesApplication, BootData.Image([]), "new kernel, Authenticode"u8);
        return log;
    }

    private static BootPolicyDraft.Made Made(BootPolicyDraft draft)
    {
        if (draft is BootPolicyDraft.Refused refused)
            Assert.Fail(string.Join('\n', refused.Reasons));
        return Assert.IsType<BootPolicyDraft.Made>(draft);
    }

    private static System.Collections.Immutable.ImmutableArray<string> Refused(BootPolicyDraft draft) => Assert.IsType<BootPolicyDraft.Refused>(draft).Reasons;
}
