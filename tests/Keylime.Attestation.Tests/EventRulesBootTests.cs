using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Testing;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;
using static Keylime.Attestation.Tests.Boots;

namespace Keylime.Attestation.Tests;

/// <summary>Event rules: firmware, order, command lines, files, sections and what may differ.</summary>
public sealed class EventRulesBootTests
{
    [Fact]
    public void The_firmwares_version_is_one_of_a_set()
    {
        var policy = EventRules();
        policy["events"]!["firmware"]![0]!["versions"] = new JsonArray("0.9", "1.0", "1.1");
        Passes(policy, Debian());
        policy["events"]!["firmware"]![0]!["versions"] = new JsonArray("0.9", "1.1");
        var finding = Fails(policy, Debian(), BootFirmwareNotAllowed);
        Assert.Contains("the firmware's version '1.0' is not in the policy", finding.Detail, StringComparison.Ordinal);
        Assert.Equal(("0.9 or 1.1", "1.0"), (finding.Event!.Expected, finding.Event.Seen));
    }

    [Fact]
    public void A_version_that_only_the_log_tells_is_none()
    {
        // Firmware 0.1 is measured, and the log says 1.0: the text does not hash to the digest.
        var log = Debian();
        log.Change(Find(log, 0, BootEventTypes.CrtmVersion), e => e with { Digests = [(TpmAlgorithm.Sha256, SHA256.HashData(BootData.Utf16("0.1")))] });
        Assert.Contains(Appraise(EventRules(), log).Findings, f => f is { Code: BootEventMissing, Event.Pcr: 0 });
        Fails(EventRules(), log, BootFirmwareNotAllowed);
    }

    [Fact]
    public void Firmware_that_is_not_the_policys_is_told_with_its_digest()
    {
        var log = Debian();
        log.Change(Find(log, 0, BootEventTypes.FirmwareBlob), e => e with { Digests = [(TpmAlgorithm.Sha256, SHA256.HashData("evil"u8))] });
        Assert.Contains($"the firmware is not in the policy, no text; its SHA-256 is {Sha256("evil"u8)}", Fails(EventRules(), log, BootFirmwareNotAllowed).Detail, StringComparison.Ordinal);
        log = Debian();
        Fails(EventRules(), log.Without(Find(log, 0, BootEventTypes.FirmwareBlob)), BootEventMissing);
    }

    [Fact]
    public void Of_several_firmwares_one_fits_in_all()
    {
        var policy = EventRules();
        policy["events"]!["firmware"]!.AsArray().Insert(0, JsonNode.Parse($$"""{"name": "1.1", "versions": ["1.1"], "digests": ["{{Digest("newer firmware")}}"]}"""));
        Passes(policy, Debian());
        var log = Debian();
        log.Change(Find(log, 0, BootEventTypes.FirmwareBlob), e => e with { Digests = [(TpmAlgorithm.Sha256, SHA256.HashData("newer firmware"u8))] });
        Assert.Contains("of 2 alternatives", Fails(policy, log, BootFirmwareNotAllowed).Detail, StringComparison.Ordinal); // 1.0 with the parts of 1.1
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    [InlineData(7)]
    public void There_is_one_separator_a_PCR(int pcr)
    {
        foreach (var policy in (JsonObject[])[EventRules(), ReferenceState()])
        {
            var log = Debian();
            log.Without(Find(log, pcr, BootEventTypes.Separator));
            Assert.Contains(Appraise(policy, log).Findings, f => f.Code == BootSeparator && f.Detail.StartsWith($"PCR {pcr}: the separator is missing", StringComparison.Ordinal));
            Assert.Contains("second separator", Fails(policy, Debian().Separator(pcr), BootSeparator).Detail, StringComparison.Ordinal);

            log = Debian();
            log.Change(Find(log, pcr, BootEventTypes.Separator), e => e with { Digests = [(TpmAlgorithm.Sha256, SHA256.HashData([0, 0, 0, 2]))], Data = [0, 0, 0, 2] });
            Assert.Contains("its digest is not one's", Fails(policy, log, BootSeparator).Detail, StringComparison.Ordinal);

            log = Debian();
            log.Change(Find(log, pcr, BootEventTypes.Separator), e => e with { Digests = [(TpmAlgorithm.Sha256, SHA256.HashData([1, 0, 0, 0]))], Data = [1, 0, 0, 0] });
            Assert.Contains("met an error", Fails(policy, log, BootSeparator).Detail, StringComparison.Ordinal);

            log = Debian(); // the data are forged, and what was measured is no separator
            log.Change(Find(log, pcr, BootEventTypes.Separator), e => e with { Digests = [(TpmAlgorithm.Sha256, new byte[32])] });
            Fails(policy, log, BootSeparator);

            log = Debian();
            log.Change(Find(log, pcr, BootEventTypes.Separator), e => e with { Digests = [(TpmAlgorithm.Sha256, SHA256.HashData([0xff, 0xff, 0xff, 0xff]))], Data = [0xff, 0xff, 0xff, 0xff] });
            Passes(policy, log); // the profile has both values
        }
    }

    [Fact]
    public void An_early_separator_shows_in_what_follows_it()
    {
        foreach (var policy in (JsonObject[])[EventRules(), ReferenceState()])
        {
            // PCR 7: Secure Boot's variables behind the separator could be anybody's.
            var log = Debian();
            log.Separator(7).MoveLastTo(Find(log, 7, BootEventTypes.VariableDriverConfig)).Without(Find(log, 7, BootEventTypes.Separator, skip: 1));
            Assert.Contains("behind the separator", Fails(policy, log, BootSeparator).Detail, StringComparison.Ordinal);

            log = Debian();
            log.Separator(0).MoveLastTo(Find(log, 0, BootEventTypes.FirmwareBlob)).Without(Find(log, 0, BootEventTypes.Separator, skip: 1));
            Assert.Contains("the separator came early", Fails(policy, log, BootSeparator).Detail, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_separator_that_the_log_calls_a_program_is_one_all_the_same()
    {
        var log = Debian();
        log.Separator(4).MoveLastTo(Find(log, 4, BootEventTypes.EfiAction)).Change(Find(log, 4, BootEventTypes.Separator), e => e with { Type = BootEventTypes.BootServicesApplication, Data = BootData.Image([]) });
        Fails(EventRules(), log, BootSeparator);
        Fails(ReferenceState(), log, BootSeparator);
    }

    [Fact]
    public void Four_zeros_are_no_separator_where_places_decide_nothing()
    {
        var policy = EventRules();
        policy["events"]!["measured"]!.AsArray().Add(JsonNode.Parse($$"""{"pcr": 1, "name": "flags", "digests": ["sha256:{{Sha256([0, 0, 0, 0])}}"]}"""));
        Passes(policy, Debian().Add(1, BootEventTypes.PlatformConfigFlags, [0, 0, 0, 0]));
        Fails(EventRules(), Debian().Add(1, BootEventTypes.PlatformConfigFlags, [0, 0, 0, 0]), BootEventNotAllowed);
    }

    [Fact]
    public void A_forged_action_is_refused()
    {
        foreach (var policy in (JsonObject[])[EventRules(), ReferenceState()])
        {
            // Another text was measured than the log says.
            var log = Debian();
            log.Change(Find(log, 4, BootEventTypes.EfiAction), e => e with { Digests = [(TpmAlgorithm.Sha256, SHA256.HashData("Booting something else"u8))] });
            Fails(policy, log, BootActionForged);

            // A program that is called an action.
            log = Debian();
            log.AddMeasured(4, BootEventTypes.EfiAction, "Calling EFI Application from Boot Option"u8, "evil"u8);
            Fails(policy, log, BootActionForged);

            // The right action, told as another one.
            log = Debian();
            log.Change(Find(log, 5, BootEventTypes.EfiAction), e => e with { Data = [.. "Exit Boot Services Returned with Failure"u8] });
            Fails(policy, log, BootActionForged);
        }
    }

    [Fact]
    public void Actions_are_in_their_order()
    {
        Fails(EventRules(), Debian().Action(4, "Calling EFI Application from Boot Option"), BootEventNotAllowed);
        Fails(EventRules(), Debian().Action(5, "Exit Boot Services Invocation"), BootEventNotAllowed);
        var log = Debian();
        Fails(EventRules(), log.Without(Find(log, 5, BootEventTypes.EfiAction)), BootEventNotAllowed);

        log = Debian(); // the firmware refused the first call: GRUB had an old memory map
        log.Action(5, "Exit Boot Services Returned with Failure").MoveLastTo(Find(log, 5, BootEventTypes.EfiAction));
        Passes(EventRules(), log);
    }

    [Fact]
    public void A_boot_option_that_returned_is_a_class_and_what_it_ran_is_known()
    {
        BootLogBuilder Tried(string program)
        {
            var log = Debian();
            var at = Find(log, 4, BootEventTypes.BootServicesApplication);
            log.AddMeasured(4, BootEventTypes.BootServicesApplication, BootData.Image([]), Encoding.UTF8.GetBytes(program)).MoveLastTo(at);
            log.Action(4, "Returning from EFI Application from Boot Option").MoveLastTo(at + 1);
            return log.Action(4, "Calling EFI Application from Boot Option").MoveLastTo(at + 2);
        }

        Assert.Contains("was tried before, and returned", Fails(EventRules(), Tried("shim"), BootEventNotAllowed).Detail, StringComparison.Ordinal);
        var policy = EventRules();
        policy["events"]!["volatile"]!["boot-attempts"] = "The network is tried first.";
        Passes(policy, Tried("shim"));
        Assert.Contains("tried and returned", Fails(policy, Tried("evil"), BootImageNotAllowed).Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void A_visit_to_the_setup_is_told_unless_it_is_allowed()
    {
        var log = Debian();
        log.Action(1, "Entering ROM Based Setup").MoveLastTo(Find(log, 1, BootEventTypes.Separator));
        Fails(EventRules(), log, BootEventNotAllowed);
        var policy = EventRules();
        policy["events"]!["volatile"]!["firmware-setup"] = "In the laboratory.";
        Passes(policy, log);
    }

    [Theory]
    [InlineData("/vmlinuz root=/dev/vda1 quiet", true)]
    [InlineData("/vmlinuz root=/dev/vda1 quiet init=/bin/sh", false)]
    [InlineData("init=/bin/sh /vmlinuz root=/dev/vda1 quiet", false)]
    [InlineData("/vmlinuz root=/dev/vda1 quiet\n", false)]
    public void A_pattern_matches_a_whole_command_line(string line, bool passes)
    {
        var log = Debian();
        log.Without(Find(log, 8, "kernel_cmdline: ")).KernelCommandLine(line);
        if (passes)
            Passes(EventRules(), log);
        else
            Fails(EventRules(), log, BootCommandLineNotAllowed);
    }

    [Fact]
    public void A_command_line_may_be_told_as_a_text_or_by_its_digest()
    {
        var policy = EventRules();
        var chain = policy["events"]!["boot"]![0]!;
        chain["command-line"] = JsonNode.Parse("""{"texts": ["/vmlinuz root=/dev/vda2 quiet"]}""");
        Passes(policy, Debian());
        chain["command-line"] = JsonNode.Parse($$"""{"digests": ["{{Digest("/vmlinuz root=/dev/vda2 quiet")}}"]}""");
        Passes(policy, Debian());
        chain["command-line"] = JsonNode.Parse("""{"texts": ["/vmlinuz root=/dev/vda2"]}""");
        Fails(policy, Debian(), BootCommandLineNotAllowed);
    }

    [Fact]
    public void A_command_line_that_the_log_calls_a_command_is_judged_as_one()
    {
        var policy = EventRules();
        policy["events"]!["volatile"]!["loader-commands"] = "The menu changes.";
        var log = Debian().KernelCommandLine("/vmlinuz root=/dev/vda2 init=/bin/sh");
        log.Change(Find(log, 8, "init=/bin/sh"), e => e with { Data = Encoding.UTF8.GetBytes("grub_cmd: /vmlinuz root=/dev/vda2 init=/bin/sh\0") });
        Assert.Contains("init=/bin/sh' is not in the policy", Fails(policy, log, BootCommandLineNotAllowed).Detail, StringComparison.Ordinal);
        Passes(policy, Debian().GrubCommand("set timeout=5"));
        Fails(EventRules(), Debian().GrubCommand("set timeout=5"), BootEventNotAllowed);
    }

    [Fact]
    public void The_command_line_has_to_be_measured()
    {
        var log = Debian();
        log.Without(Find(log, 8, "kernel_cmdline: "));
        Fails(EventRules(), log, BootEventMissing);
    }

    [Fact]
    public void The_load_options_that_Linux_measures_are_the_command_line_in_UTF16()
    {
        // PCR 9, EV_EVENT_TAG: the log has only a label; the digest is that of a text that PCR 8 proves, with BOOT_IMAGE= in front, as GRUB passes it.
        byte[] label = BootData.Tagged(TaggedItem.LinuxLoadOptions, "LOADED_IMAGE::LoadOptions\0"u8);
        Passes(EventRules(), Debian().AddMeasured(9, BootEventTypes.EventTag, label, BootData.Utf16("BOOT_IMAGE=/vmlinuz root=/dev/vda2 quiet")));
        Passes(EventRules(), Debian().AddMeasured(9, BootEventTypes.EventTag, label, BootData.Utf16("/vmlinuz root=/dev/vda2 quiet")));
        var finding = Fails(EventRules(), Debian().AddMeasured(9, BootEventTypes.EventTag, label, BootData.Utf16("/vmlinuz root=/dev/vda2 init=/bin/sh")), BootCommandLineNotAllowed);
        Assert.Contains("the kernel's command line is not in the policy; the log has no text of it", finding.Detail, StringComparison.Ordinal);

        // A kernel that the firmware starts by itself: no text anywhere, so the policy's own text is hashed.
        var policy = EventRules();
        var chain = policy["events"]!["boot"]![0]!;
        chain["command-line"] = JsonNode.Parse("""{"texts": ["root=/dev/vda2 quiet"]}""");
        var log = Debian();
        log.Without(Find(log, 8, "kernel_cmdline: "));
        Fails(policy, log, BootEventMissing);
        Passes(policy, log.AddMeasured(9, BootEventTypes.EventTag, label, BootData.Utf16("root=/dev/vda2 quiet")));
    }

    [Fact]
    public void The_initrd_that_Linux_loads_from_the_firmware_is_known_by_its_digest()
    {
        byte[] label = BootData.Tagged(TaggedItem.LinuxInitrd, "Linux initrd\0"u8);
        var log = Debian();
        log.Without(Find(log, 9, "initrd")).AddMeasured(9, BootEventTypes.EventTag, label, "initrd"u8);
        Passes(EventRules(), log);
        Assert.Contains($"the initrd is not in the policy; its SHA-256 is {Sha256("evil"u8)}", Fails(EventRules(), log.AddMeasured(9, BootEventTypes.EventTag, label, "evil"u8), BootImageNotAllowed).Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_is_known_by_its_digest_and_not_by_its_name()
    {
        var policy = EventRules();
        policy["events"]!["volatile"]!["grub-environment"] = "GRUB writes it.";
        Passes(policy, Debian().GrubFile("(hd0,gpt2)/grub/grubenv", "boot_success=0"u8));

        // Upstream lets any file pass that is called /grub; here one unknown file passes as the environment, and the environment itself was measured.
        var log = Debian().GrubFile("(hd0,gpt2)/grub/grubenv", "boot_success=0"u8).GrubFile("(hd0,gpt2)/evil-initrd", "evil"u8);
        log.Change(Find(log, 9, "evil-initrd"), e => e with { Data = [.. "(hd0,gpt2)/grub/grubenv\0"u8] });
        Assert.Contains("of the volatile class grub-environment there are more than 1", Fails(policy, log, BootEventNotAllowed).Detail, StringComparison.Ordinal);
        Passes(ReferenceState(), log);

        log = Debian(); // the good digest under another name
        log.Change(Find(log, 9, "initrd"), e => e with { Data = [.. "(hd0,gpt2)/x\0"u8] });
        Passes(EventRules(), log);
    }

    [Fact]
    public void An_initrd_or_kernel_file_that_was_not_measured_is_missed()
    {
        var log = Debian();
        Fails(EventRules(), log.Without(Find(log, 9, "initrd")), BootEventMissing);
        log = Debian();
        Fails(EventRules(), log.Without(Find(log, 9, "vmlinuz")), BootEventMissing);
    }

    [Fact]
    public void An_update_boots_beside_its_predecessor_but_not_mixed_with_it()
    {
        var policy = EventRules();
        var next = policy["events"]!["boot"]![0]!.DeepClone();
        next["name"] = "Linux, updated";
        next["initrd"] = new JsonArray(Digest("new initrd"));
        next["kernel-file"] = new JsonArray(Digest("new kernel"));
        next["images"]![2]!["digests"] = new JsonArray(Digest("new kernel, Authenticode"));
        policy["events"]!["boot"]!.AsArray().Add(next);
        Passes(policy, Debian());

        var log = Debian();
        log.Without(Find(log, 9, "initrd")).GrubFile("(hd0,gpt2)/initrd.img", "new initrd"u8);
        var finding = Fails(policy, log, BootImageNotAllowed);
        Assert.Contains("the initrd is not in the policy", finding.Detail, StringComparison.Ordinal);
        Assert.Contains("of 2 alternatives, 'Linux' is the nearest", finding.Detail, StringComparison.Ordinal);
    }

    private static JsonObject UnifiedKernel() => JsonNode.Parse($$"""
        {
          "version": 1, "pcrs": [4, 11, 12],
          "events": {"boot": [{
            "name": "UKI",
            "images": [{"role": "unified-kernel", "digests": ["{{Digest("uki")}}"]}],
            "command-line": {"texts": ["root=/dev/vda2"]},
            "sections": {".linux": ["{{Digest("kernel")}}"], ".initrd": ["{{Digest("initrd")}}", "{{Digest("initrd 2")}}"]}
          }]}
        }
        """)!.AsObject();

    [Fact]
    public void Sections_of_a_unified_kernel_image_are_known_by_their_proven_names()
    {
        static BootLogBuilder Boot(string initrd) => new BootLogBuilder(TpmAlgorithm.Sha256).Separator(4).Image(@"\EFI\Linux\a.efi", "uki"u8)
            .UkiSection(".linux", "kernel"u8).UkiSection(".initrd", Encoding.UTF8.GetBytes(initrd)).StubCommandLine("root=/dev/vda2");
        Passes(UnifiedKernel(), Boot("initrd"));
        Passes(UnifiedKernel(), Boot("initrd 2"));
        Assert.Contains("the section .initrd of the kernel image is not in the policy", Fails(UnifiedKernel(), Boot("evil"), BootImageNotAllowed).Detail, StringComparison.Ordinal);
        Fails(UnifiedKernel(), Boot("kernel"), BootImageNotAllowed); // a section in another's place
        Fails(UnifiedKernel(), Boot("initrd").UkiSection(".cmdline", "evil"u8), BootImageNotAllowed);
        Fails(UnifiedKernel(), Boot("initrd").StubCommandLine("root=/dev/vda2 init=/bin/sh"), BootCommandLineNotAllowed);
        var log = Boot("initrd");
        log.Events.RemoveAt(3);
        log.Events.RemoveAt(3);
        Fails(UnifiedKernel(), log, BootEventMissing);

        log = Boot("initrd"); // the log swaps the labels of the two sections' contents
        (log.Events[4], log.Events[6]) = (log.Events[4] with { Data = log.Events[6].Data }, log.Events[6] with { Data = log.Events[4].Data });
        Passes(UnifiedKernel(), log);
    }

    [Fact]
    public void A_volatile_class_lets_its_own_events_pass_and_no_others()
    {
        var log = Debian();
        log.Without(Find(log, 1, BootEventTypes.VariableBoot)).BootVariable("BootOrder", BootData.U16(3)).BootVariable("Boot0003", BootData.LoadOption("net", BootData.PciPath()));
        Passes(EventRules(), log);

        var policy = EventRules();
        policy["events"]!["volatile"]!.AsObject().Remove("boot-entries");
        policy["events"]!["volatile"]!["network-boot-entries"] = "The card has its MAC address.";
        Fails(policy, log, BootEventNotAllowed);
        policy["events"]!["measured"]!.AsArray().Add(JsonNode.Parse($$"""{"pcr": 1, "name": "disk", "digests": ["sha256:{{Sha256(BootData.LoadOption("debian", BootData.DiskPath(@"\EFI\debian\shimx64.efi")))}}"]}"""));
        byte[] card = [.. BootData.Node(3, 11, new byte[33]), .. BootData.EndNode];
        Passes(policy, Debian().BootVariable("Boot0003", BootData.LoadOption("net", card)));
        Fails(policy, Debian().BootVariable("Boot0003", BootData.LoadOption("disk", BootData.PciPath())), BootEventNotAllowed);
    }

    [Fact]
    public void A_class_that_only_the_log_tells_has_a_limit()
    {
        Passes(EventRules(), Debian());
        Fails(EventRules(), Debian().AddMeasured(1, BootEventTypes.HandoffTables, BootData.Tables(), "more"u8), BootEventNotAllowed);
    }

    [Fact]
    public void A_digest_that_is_wanted_has_to_come()
    {
        var log = Debian();
        log.Without(Find(log, 2, BootEventTypes.BootServicesDriver));
        Assert.Contains("'option ROM' was not measured", Fails(EventRules(), log, BootEventMissing).Detail, StringComparison.Ordinal);
        var policy = EventRules();
        policy["events"]!["measured"]![0]!["required"] = false;
        Passes(policy, log);
    }

    [Fact]
    public void Findings_add_up_in_the_order_of_the_log_and_are_bounded()
    {
        var log = Debian();
        for (var i = 0; i < 100; i++)
            log.AddMeasured(6, BootEventTypes.CompactHash, "x"u8, [(byte)i]);
        log.Change(Find(log, 2, BootEventTypes.BootServicesDriver), e => e with { Digests = [(TpmAlgorithm.Sha256, new byte[32])] });
        var appraisal = Appraise(EventRules(), log);
        Assert.Equal((102, BootPolicy.MaxFindings), (appraisal.FindingCount, appraisal.Findings.Length));
        Assert.Equal(2, appraisal.Findings[0].Event!.Pcr);
        Assert.Equal(appraisal.Findings.Select(f => f.Event!.Index).Order(), appraisal.Findings.Select(f => f.Event!.Index));
    }

    [Fact]
    public void Ten_thousand_events_that_nobody_knows_are_judged_at_once()
    {
        var log = Debian();
        for (var i = 0; i < 10_000; i++)
            log.AddMeasured(9, BootEventTypes.Ipl, "(hd0)/grub/x\0"u8, BitConverter.GetBytes(i));
        var policy = Policy(EventRules());
        var proven = Prove(log, policy.Pcrs);
        var start = TimeProvider.System.GetTimestamp();
        Assert.Equal(10_000, policy.Appraise(proven).FindingCount);
        Assert.True(TimeProvider.System.GetElapsedTime(start) < TimeSpan.FromSeconds(20));
    }
}
