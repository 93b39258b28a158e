using System.Collections.Immutable;
using System.Security.Cryptography;
using CsCheck;
using Keylime.Testing;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation.Tests;

/// <summary>A boot log against the quote of a TPM: what is proven, and what is not.</summary>
public sealed class BootReplayTests
{
    private static readonly PcrSet Boot = PcrSet.Of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14);
    private static readonly VerifiedQuote Good = Debian().Prove(TpmAlgorithm.Sha256, Boot);

    [Theory]
    [InlineData(TpmAlgorithm.Sha1)]
    [InlineData(TpmAlgorithm.Sha256)]
    [InlineData(TpmAlgorithm.Sha384)]
    public void A_log_that_leads_to_the_quoted_values_is_proven_in_each_bank(TpmAlgorithm bank)
    {
        var log = BootLogBuilder.Debian(TpmAlgorithm.Sha1, TpmAlgorithm.Sha256, TpmAlgorithm.Sha384);
        var proven = Proven(log, log.Prove(bank, Boot), Boot);
        Assert.Equal(bank, proven.Bank);
        Assert.Equal(Boot, proven.Proven);
        Assert.Equal(log.Events.Count - 1, proven.Events.Length);
        Assert.All(proven.Events, e => Assert.Equal(bank.DigestSize(), e.Digest.Length));
        Assert.Equal([0], proven.UntrustedRemarks.Select(static r => r.Index));
    }

    [Fact]
    public void A_log_of_SHA1_alone_is_proven()
    {
        var log = BootLogBuilder.Debian();
        Assert.Equal(log.Events.Count, Proven(log, log.Prove(TpmAlgorithm.Sha1, Boot), Boot).Events.Length);
    }

    [Fact]
    public void Only_events_of_wanted_PCRs_are_proven()
    {
        foreach (var wanted in (PcrSet[])[PcrSet.Of(7), PcrSet.Of(4, 8), PcrSet.Of(0)])
            Assert.All(Proven(Debian(), Good, wanted).Events, e => Assert.True(wanted.Contains(e.Pcr)));
    }

    [Fact]
    public void A_PCR_that_was_not_quoted_proves_nothing()
    {
        var finding = Assert.Single(Diverged(Debian(), Debian().Prove(TpmAlgorithm.Sha256, PcrSet.Of(0, 7)), PcrSet.Of(0, 4, 7)));
        Assert.Equal((BootPcrNotQuoted, "PCR 4 was not quoted, so its events in the boot log are not proven."), (finding.Code, finding.Detail));
    }

    [Fact]
    public void No_PCR_wanted_is_a_mistake_and_not_a_proof() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => BootReplay.Replay(Parse(Debian()), Good, default));

    [Fact]
    public void A_bank_that_the_log_lacks_proves_nothing()
    {
        var finding = Assert.Single(Diverged(BootLogBuilder.Debian(TpmAlgorithm.Sha1), Good, Boot));
        Assert.Equal((BootBankMissing, "The quote is of bank sha256; the boot log has digests for sha1 only."), (finding.Code, finding.Detail));
    }

    [Fact]
    public void An_event_without_a_digest_of_the_quoted_bank_proves_nothing()
    {
        var log = Debian();
        var at = IndexOf(log, BootEventTypes.BootServicesApplication);
        log.Events[at] = log.Events[at] with { Digests = [.. log.Events[at].Digests.Where(static d => d.Bank == TpmAlgorithm.Sha1)] };
        var finding = Assert.Single(Diverged(log, Good, Boot));
        Assert.Equal(BootBankMissing, finding.Code);
        Assert.Equal(new MeasuredEvent(4, at, "EV_EFI_BOOT_SERVICES_APPLICATION", "a digest of sha256", ""), finding.Event);
    }

    [Fact]
    public void A_bit_flipped_in_any_digest_of_the_quoted_bank_diverges() =>
        Gen.Select(Gen.Int[1, Debian().Events.Count - 1], Gen.Int[0, 255]).Sample(static (index, bit) =>
        {
            var log = Debian();
            Flip(log, index, TpmAlgorithm.Sha256, bit);
            var finding = Assert.Single(Diverged(log, Good, Boot));
            Assert.Equal(BootPcrMismatch, finding.Code);
            Assert.StartsWith($"PCR {log.Events[index].Pcr}", finding.Detail, StringComparison.Ordinal);
        });

    [Fact]
    public void Digests_of_another_bank_are_not_proven() =>
        Gen.Select(Gen.Int[1, Debian().Events.Count - 1], Gen.Int[0, 159]).Sample(static (index, bit) =>
        {
            var log = Debian();
            Flip(log, index, TpmAlgorithm.Sha1, bit);
            var one = Proven(log, Good, Boot).Events[index - 1];
            Assert.NotEqual(Debian().Events[index].Digests[0].Value, one.UntrustedDigest(TpmAlgorithm.Sha1)!.Value.ToArray());
        });

    [Fact]
    public void Order_is_proven_within_a_PCR_and_not_between_PCRs() =>
        Gen.Select(Gen.Int[1, Debian().Events.Count - 1], Gen.Int[1, Debian().Events.Count - 1]).Sample(static (a, b) =>
        {
            var log = Debian();
            (log.Events[a], log.Events[b]) = (log.Events[b], log.Events[a]);
            var same = OrderOf(log).SequenceEqual(OrderOf(Debian()));
            Assert.Equal(same, Replay(log, Good, Boot) is BootReplayResult.Proven);

            static IEnumerable<string> OrderOf(BootLogBuilder log) =>
                log.Events.Skip(1).OrderBy(static e => e.Pcr).Select(static e => $"{e.Pcr} {Convert.ToHexString(e.Digests[1].Value)}"); // a stable order
        });

    [Fact]
    public void An_event_left_out_or_told_twice_diverges()
    {
        for (var i = 1; i < Debian().Events.Count; i++)
        {
            var (shorter, longer) = (Debian(), Debian());
            shorter.Events.RemoveAt(i);
            longer.Events.Insert(i, longer.Events[i]);
            Assert.Equal(BootPcrMismatch, Assert.Single(Diverged(shorter, Good, Boot)).Code);
            Assert.Equal(BootPcrMismatch, Assert.Single(Diverged(longer, Good, Boot)).Code);
        }
    }

    [Fact]
    public void A_measurement_that_is_passed_off_as_a_remark_diverges()
    {
        for (var i = 1; i < Debian().Events.Count; i++)
        {
            var log = Debian();
            log.Events[i] = log.Events[i] with { Type = BootEventTypes.NoAction };
            Assert.Equal(BootPcrMismatch, Assert.Single(Diverged(log, Good, Boot)).Code);
        }
    }

    [Fact]
    public void Events_behind_the_quoted_value_are_named()
    {
        var log = Debian().Separator(7).Separator(7);
        var finding = Assert.Single(Diverged(log, Good, Boot));
        var (index, digest) = (log.Events.Count - 2, Convert.ToHexStringLower(SHA256.HashData(new byte[4])));
        Assert.Equal($"PCR 7, event {index}: the quoted value is reached before it; this event and 1 behind it were not measured.", finding.Detail);
        Assert.Equal(new MeasuredEvent(7, index, "EV_SEPARATOR", "no further event", $"sha256:{digest}"), finding.Event);
    }

    [Fact]
    public void An_event_whose_data_belie_its_digest_is_named()
    {
        var log = Debian();
        var at = IndexOf(log, BootEventTypes.VariableDriverConfig);
        log.Events[at] = log.Events[at] with { Digests = Debian().Events[at + 1].Digests };
        var finding = Assert.Single(Diverged(log, Good, Boot));
        Assert.Equal($"Event {at} (EV_EFI_VARIABLE_DRIVER_CONFIG) has data that do not hash to its digest.", finding.Detail[finding.Detail.IndexOf("Event", StringComparison.Ordinal)..]);
        Assert.Equal(at, finding.Event!.Index);
    }

    [Fact]
    public void A_PCR_without_events_has_its_value_of_after_a_reset_or_diverges()
    {
        using var tpm = new SoftwareTpm(TpmAlgorithm.Ecdsa);
        foreach (var pcr in (int[])[17, 22])
            tpm.Set(TpmAlgorithm.Sha256, pcr, [.. Enumerable.Repeat((byte)0xFF, 32)]);
        var log = Debian().Measure(tpm);
        Assert.Empty(Proven(log, BootLogBuilder.Prove(tpm, TpmAlgorithm.Sha256, PcrSet.Of(11, 13, 17, 22, 23)), PcrSet.Of(11, 13, 17, 22, 23)).Events);
        tpm.Extend(TpmAlgorithm.Sha256, 13, new byte[32]);
        tpm.Set(TpmAlgorithm.Sha256, 17, new byte[32]); // a dynamic launch that measured nothing
        var findings = Diverged(log, BootLogBuilder.Prove(tpm, TpmAlgorithm.Sha256, PcrSet.Of(11, 13, 17)), PcrSet.Of(11, 13, 17));
        Assert.Equal(["PCR 13: the boot log has no event for it", "PCR 17: the boot log has no event for it"], findings.Select(static f => f.Detail[..40]));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    [InlineData(4)]
    public void The_locality_that_started_the_TPM_is_in_PCR_0(byte locality)
    {
        var log = new BootLogBuilder(TpmAlgorithm.Sha256).Remark(0, BootData.StartupLocality(locality)).Add(0, BootEventTypes.CrtmVersion, BootData.Utf16("1")).Separator(0);
        var quote = log.Prove(TpmAlgorithm.Sha256, PcrSet.Of(0));
        Assert.Equal(2, Proven(log, quote, PcrSet.Of(0)).Events.Length);
        foreach (var other in ((byte[])[0, 1, 2, 3, 4]).Where(l => l != locality))
        {
            log.Events[1] = log.Events[1] with { Data = BootData.StartupLocality(other) };
            Assert.Equal(BootPcrMismatch, Assert.Single(Diverged(log, quote, PcrSet.Of(0))).Code);
        }
    }

    [Fact]
    public void A_locality_told_after_a_measurement_or_for_another_PCR_changes_nothing()
    {
        var log = Debian();
        log.Remark(0, BootData.StartupLocality(3));
        log.Events.Insert(1, new WrittenEvent(7, BootEventTypes.NoAction, log.Events[^1].Digests, BootData.StartupLocality(3)));
        Assert.Equal(3, Proven(log, Good, Boot).UntrustedRemarks.Length);
    }

    [Fact]
    public void An_H_CRTM_starts_PCR_0_from_four()
    {
        var log = new BootLogBuilder(TpmAlgorithm.Sha256).AddMeasured(0, BootEventTypes.HcrtmEvent, "HCRTM"u8, "the H-CRTM"u8).Separator(0);
        Assert.Equal(2, Proven(log, log.Prove(TpmAlgorithm.Sha256, PcrSet.Of(0)), PcrSet.Of(0)).Events.Length);
    }

    [Fact]
    public void The_go_attestation_event_log_disclosure_types_are_never_proven()
    {
        for (var i = 1; i < Debian().Events.Count; i++)
        {
            var log = Debian();
            log.Events[i] = log.Events[i] with { Type = BootEventTypes.Unused };
            var one = Proven(log, Good, Boot).Events[i - 1];
            Assert.Equal("EV_UNUSED", one.UntrustedTypeName);
            Assert.False(one.DataIsMeasured);
        }
    }

    [Fact]
    public void The_go_attestation_event_log_disclosure_data_that_are_changed_are_no_longer_measured()
    {
        foreach (var one in Proven(Debian(), Good, Boot).Events)
        {
            var log = Debian();
            byte[] data = [.. log.Events[one.Index].Data];
            data[^1] ^= 1;
            data[^2] ^= 1; // the last byte may be a NUL that is not measured
            log.Events[one.Index] = log.Events[one.Index] with { Data = data };
            Assert.False(Proven(log, Good, Boot).Events[one.Index - 1].DataIsMeasured);
        }
    }

    [Fact]
    public void Early_and_repeated_separators_are_data_for_a_policy()
    {
        var log = new BootLogBuilder(TpmAlgorithm.Sha256).Separator(7).Action(7, "x").Separator(7, 0xFFFF_FFFF).Separator(7, 1);
        var proven = Proven(log, log.Prove(TpmAlgorithm.Sha256, PcrSet.Of(7)), PcrSet.Of(7));
        Assert.Equal([true, true, false], proven.Events.Select(static e => e.UntrustedData).OfType<BootEventData.Separator>().Select(static s => s.IsDelimiter));
        Assert.All(proven.Events, static e => Assert.Equal(MeasuredPart.Whole, e.Measured));
    }

    public static TheoryData<string, int, uint, byte[], byte[], MeasuredPart> Relations => new()
    {
        { "variable", 7, BootEventTypes.VariableDriverConfig, Secure, Secure, MeasuredPart.Whole },
        { "the value alone of another variable than a boot variable", 7, BootEventTypes.VariableDriverConfig, Secure, [1], MeasuredPart.None },
        { "boot variable, older form", 1, BootEventTypes.VariableBoot, Order, [1, 0], MeasuredPart.VariableValue },
        { "boot variable, newer form", 1, BootEventTypes.VariableBoot, Order, Order, MeasuredPart.Whole },
        { "boot variable of the second type", 1, BootEventTypes.VariableBoot2, Order, Order, MeasuredPart.Whole },
        { "boot variable of the second type, value alone", 1, BootEventTypes.VariableBoot2, Order, [1, 0], MeasuredPart.None },
        { "authority", 7, BootEventTypes.VariableAuthority, Secure, Secure, MeasuredPart.Whole },
        { "authority of old shim", 7, BootEventTypes.VariableAuthority, [.. Secure, 0xAF], Secure, MeasuredPart.AllButLastByte },
        { "another type with a byte too many", 7, BootEventTypes.VariableDriverConfig, [.. Secure, 0xAF], Secure, MeasuredPart.None },
        { "action", 5, BootEventTypes.EfiAction, "Exit"u8.ToArray(), "Exit"u8.ToArray(), MeasuredPart.Whole },
        { "action with a NUL that is not measured", 5, BootEventTypes.EfiAction, "Exit\0"u8.ToArray(), "Exit"u8.ToArray(), MeasuredPart.Text },
        { "forged action", 5, BootEventTypes.EfiAction, "Exit"u8.ToArray(), "Enter"u8.ToArray(), MeasuredPart.None },
        { "separator", 5, BootEventTypes.Separator, [0, 0, 0, 0], [0, 0, 0, 0], MeasuredPart.Whole },
        { "forged separator", 5, BootEventTypes.Separator, [0, 0, 0, 0], [255, 255, 255, 255], MeasuredPart.None },
        { "GRUB's command", 8, BootEventTypes.Ipl, "grub_cmd: ls\0"u8.ToArray(), "ls"u8.ToArray(), MeasuredPart.Text },
        { "GRUB's command with its NUL", 8, BootEventTypes.Ipl, "grub_cmd: ls\0"u8.ToArray(), "ls\0"u8.ToArray(), MeasuredPart.Text },
        { "GRUB's command with its prefix", 8, BootEventTypes.Ipl, "grub_cmd: ls\0"u8.ToArray(), "grub_cmd: ls\0"u8.ToArray(), MeasuredPart.Whole },
        { "forged command", 8, BootEventTypes.Ipl, "grub_cmd: ls\0"u8.ToArray(), "insmod"u8.ToArray(), MeasuredPart.None },
        { "kernel command line", 8, BootEventTypes.Ipl, "kernel_cmdline: /v a\0"u8.ToArray(), "/v a"u8.ToArray(), MeasuredPart.Text },
        { "file", 9, BootEventTypes.Ipl, "/vmlinuz\0"u8.ToArray(), "content"u8.ToArray(), MeasuredPart.None },
        { "systemd's command line", 12, BootEventTypes.Ipl, BootData.Utf16("quiet"), BootData.Utf16("quiet"), MeasuredPart.Whole },
        { "systemd's command line with half a NUL", 12, BootEventTypes.Ipl, BootData.Utf16("quiet")[..^1], BootData.Utf16("quiet"), MeasuredPart.Text },
        { "name of a section", 11, BootEventTypes.Ipl, BootData.Utf16(".linux"), ".linux\0"u8.ToArray(), MeasuredPart.AsciiText },
        { "the same in another PCR", 12, BootEventTypes.Ipl, BootData.Utf16(".linux"), ".linux\0"u8.ToArray(), MeasuredPart.None },
        { "section", 11, BootEventTypes.Ipl, BootData.Utf16(".linux"), "content"u8.ToArray(), MeasuredPart.None },
        { "partitions", 5, BootEventTypes.Gpt, BootData.Gpt(), BootData.Gpt(), MeasuredPart.Whole },
        { "version", 0, BootEventTypes.CrtmVersion, BootData.Utf16("1"), BootData.Utf16("1"), MeasuredPart.Whole },
        { "tag of Windows", 12, BootEventTypes.EventTag, BootData.Tagged(1, "x"u8), BootData.Tagged(1, "x"u8), MeasuredPart.Whole },
        { "tag of the kernel's initrd", 9, BootEventTypes.EventTag, BootData.Tagged(TaggedItem.LinuxInitrd, "Linux initrd\0"u8), "content"u8.ToArray(), MeasuredPart.None },
        { "program", 4, BootEventTypes.BootServicesApplication, BootData.Image([]), "authenticode"u8.ToArray(), MeasuredPart.None },
        { "a program whose digest is that of the data is none: it is the Authenticode hash", 4, BootEventTypes.BootServicesApplication, BootData.Image([]), BootData.Image([]), MeasuredPart.None },
        { "blob", 0, BootEventTypes.FirmwareBlob, BootData.Blob(1, 2), BootData.Blob(1, 2), MeasuredPart.None },
        { "tables", 1, BootEventTypes.HandoffTables, BootData.Tables(), BootData.Tables(), MeasuredPart.None },
        { "POST code", 0, BootEventTypes.PostCode, "ACPI DATA"u8.ToArray(), "ACPI DATA"u8.ToArray(), MeasuredPart.None },
    };

    [Theory]
    [MemberData(nameof(Relations))]
    public void What_the_digest_proves_of_the_data(string what, int pcr, uint type, byte[] data, byte[] measured, MeasuredPart expected)
    {
        var log = new BootLogBuilder(TpmAlgorithm.Sha256).AddMeasured(pcr, type, data, measured);
        var one = Assert.Single(Proven(log, log.Prove(TpmAlgorithm.Sha256, PcrSet.Of(pcr)), PcrSet.Of(pcr)).Events);
        Assert.True(expected == one.Measured, $"{what}: {one.Measured}");
        Assert.Equal(expected != MeasuredPart.None, one.DataIsMeasured);
    }

    [Fact]
    public void A_unified_kernel_is_proven_by_its_sections_names_and_digests()
    {
        var log = new BootLogBuilder(TpmAlgorithm.Sha256).UkiSection(".linux", "kernel"u8).UkiSection(".initrd", "initrd"u8).StubCommandLine("quiet");
        var proven = Proven(log, log.Prove(TpmAlgorithm.Sha256, PcrSet.Of(11, 12)), PcrSet.Of(11, 12));
        Assert.Equal([MeasuredPart.AsciiText, MeasuredPart.None, MeasuredPart.AsciiText, MeasuredPart.None, MeasuredPart.Whole], proven.Events.Select(static e => e.Measured));
        Assert.Equal(SHA256.HashData("kernel"u8), proven.Events[1].Digest.ToArray());
    }

    private static byte[] Secure => BootData.Variable(EfiGuids.GlobalVariable, "SecureBoot", [1]);

    private static byte[] Order => BootData.Variable(EfiGuids.GlobalVariable, "BootOrder", [1, 0]);

    private static BootLogBuilder Debian() => BootLogBuilder.Debian(TpmAlgorithm.Sha1, TpmAlgorithm.Sha256);

    private static int IndexOf(BootLogBuilder log, uint type) => log.Events.Select(static (e, i) => (e.Type, i)).First(e => e.Type == type).i;

    private static void Flip(BootLogBuilder log, int index, TpmAlgorithm bank, int bit)
    {
        log.Events[index] = log.Events[index] with
        {
            Digests = [.. log.Events[index].Digests.Select(d => d.Bank == bank ? (d.Bank, (byte[])[.. d.Value[..(bit / 8)], (byte)(d.Value[bit / 8] ^ (1 << bit % 8)), .. d.Value[(bit / 8 + 1)..]]) : d)],
        };
    }

    private static BootLog Parse(BootLogBuilder log)
    {
        Assert.True(BootLog.TryParse(log.Build(), out var parsed, out var error), error);
        return parsed;
    }

    private static BootReplayResult Replay(BootLogBuilder log, VerifiedQuote quote, PcrSet wanted) => BootReplay.Replay(Parse(log), quote, wanted);

    private static ReplayedBootLog Proven(BootLogBuilder log, VerifiedQuote quote, PcrSet wanted)
    {
        var result = Replay(log, quote, wanted);
        Assert.True(result is BootReplayResult.Proven, (result as BootReplayResult.Diverged)?.Findings[0].Detail);
        var proven = ((BootReplayResult.Proven)result).Log;
        Assert.Same(quote, proven.Quote);
        return proven;
    }

    private static ImmutableArray<Finding> Diverged(BootLogBuilder log, VerifiedQuote quote, PcrSet wanted) =>
        Assert.IsType<BootReplayResult.Diverged>(Replay(log, quote, wanted)).Findings;
}
