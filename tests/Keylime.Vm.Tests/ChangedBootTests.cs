using System.Text;
using Keylime.Protocol.Api;

namespace Keylime.Vm.Tests;

/// <summary>A machine that was good, was switched off, and is to boot something else.</summary>
public sealed class ChangedBootTests(EnrolledMachine enrolled) : IClassFixture<EnrolledMachine>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>The name of the recording; a file of the boot partition; what is changed in it, or else put behind its end; whether Secure Boot is on; the
    /// finding, and its event's PCR and what is said of it.</summary>
    public static TheoryData<string, string, string?, string, bool, string, int, string> Changes => new()
    {
        { "command-line", "EFI/debian/grub.cfg", "panic=-1", "panic=-1 module.sig_enforce=0", true, "boot.command_line_not_allowed", 8, "panic=-1 module.sig_enforce=0' is not in the policy" },
        { "initrd", "initrd.img", null, "\n", true, "boot.image_not_allowed", 9, "the initrd is not in the policy" },
        { "kernel", "vmlinuz", null, "\0", false, "boot.image_not_allowed", 9, "the kernel file is not in the policy" }, // with Secure Boot it would not start
    };

    [Theory]
    [MemberData(nameof(Changes))]
    public async Task Another_boot_than_the_one_that_was_enrolled_fails(string name, string file, string? old, string @new, bool secure, string code, int pcr, string words)
    {
        var bench = enrolled.Bench;
        await bench.WithChangedFileAsync(file, was => Change(was, old, @new), async () =>
        {
            bench.Disk.ResetVariables(secure ? Firmware.WithKeys : Firmware.WithoutKeys);
            await bench.BootAsync(Cancel);
            var verdict = await bench.WaitForVerdictAsync("of this boot", v => v.Clock?.ResetCount > enrolled.ResetCount, Cancel);
            await Recording.WriteAsync(bench.Machine, name, Cancel);
            enrolled.ResetCount = verdict.Clock!.ResetCount;
            Assert.Equal(("node_failed", 1), await bench.AskPayloadAsync(Cancel)); // the one of the good boot
            Assert.Empty((await bench.ReadPayloadAsync(Cancel)).Trim());
            await bench.PowerOffAsync(Cancel);

            Assert.Equal("fail", verdict.Evaluation);
            Assert.Equal(NodeState.Failed, (await bench.ShowAsync(Cancel)).Node.State);
            var finding = Assert.Single(verdict.Findings, f => f.Code == code && f.Event?.Pcr == pcr);
            Assert.StartsWith($"PCR {pcr}, event {finding.Event!.Index}: ", finding.Detail, StringComparison.Ordinal);
            Assert.Contains(words, finding.Detail, StringComparison.Ordinal);
            Assert.NotEqual(finding.Event.Expected, finding.Event.Seen);
            Assert.Equal(!secure, verdict.Findings.Any(f => f.Code == "boot.secure_boot_off"));
        });
    }

    [Fact]
    public async Task With_Secure_Boot_a_kernel_that_nobody_signed_does_not_start()
    {
        var bench = enrolled.Bench;
        await bench.WithChangedFileAsync("vmlinuz", was => [.. was, 0], async () =>
        {
            bench.Disk.ResetVariables(Firmware.WithKeys);
            await bench.SwitchOnAsync(Cancel);
            await bench.Machine.WaitConsoleAsync("bad shim signature", Cancel);
        });
    }

    private static byte[] Change(byte[] was, string? old, string @new)
    {
        if (old is null)
            return [.. was, .. Encoding.ASCII.GetBytes(@new)];
        var text = Encoding.ASCII.GetString(was);
        Assert.Contains(old, text, StringComparison.Ordinal);
        return Encoding.ASCII.GetBytes(text.Replace(old, @new, StringComparison.Ordinal));
    }
}
