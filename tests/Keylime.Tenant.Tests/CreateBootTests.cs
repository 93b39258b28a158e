using System.Text;
using System.Text.Json.Nodes;
using Keylime.Attestation;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Tenant.Tests;

/// <summary><c>keylime policy create boot</c>: of good boots, and of what is none.</summary>
public sealed class CreateBootTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("events")]
    [InlineData("keylime")]
    public async Task One_boot_makes_a_policy_that_admits_it_and_no_other_kernel(string format)
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        var log = await WriteAsync(bench, "log", Debian());
        var made = await bench.RunAsync("policy", "create", "boot", log, "--format", format, "--about", "the web servers");
        Assert.Equal(0, made.Exit);
        Assert.True(BootPolicy.TryParse(Encoding.UTF8.GetBytes(made.Out), out var policy, out var error), error);
        Assert.Empty(policy.PreviewUnproven(Parse(Debian()), TpmAlgorithm.Sha256).Findings);
        Assert.NotEmpty(policy.PreviewUnproven(Parse(Debian(kernel: "another")), TpmAlgorithm.Sha256).Findings);
        var json = JsonNode.Parse(made.Out)!;
        if (format == "keylime")
        {
            Assert.Equal(BootPolicyFormat.ReferenceState, policy.Format);
            foreach (var member in (string[])["scrtm_and_bios", "kernels", "pk", "kek", "db", "dbx", "has_secureboot"])
                Assert.NotNull(json[member]);
        }
        else
        {
            Assert.Equal(BootPolicyFormat.EventRules, policy.Format);
            Assert.Empty(policy.Warnings);
            Assert.Equal(("the web servers", "on"), (json["about"]!.GetValue<string>(), json["events"]!["secure-boot"]!.GetValue<string>()));
            Assert.Equal("note: One boot does not show what differs from boot to boot: of two or more, that is classed as volatile.\n", made.Error);
        }
    }

    [Fact]
    public async Task What_differs_between_two_boots_is_volatile_and_told()
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        var (first, second) = (await WriteAsync(bench, "first", Debian()), await WriteAsync(bench, "second", Debian().BootVariable("Boot0002", BootData.LoadOption("usb", BootData.PciPath())).GrubCommand("set boot_success=1")));
        var made = await bench.RunAsync("policy", "create", "boot", first, second, "--out", bench.PathOf("policy.json"));
        Assert.Equal((0, ""), (made.Exit, made.Out));
        Assert.Contains("note: Volatile class boot-entries: boot 2 has ", made.Error, StringComparison.Ordinal);
        Assert.Contains("note: Volatile class loader-commands: the boot loader's commands differ between the boots.\n", made.Error, StringComparison.Ordinal);
        var text = await File.ReadAllBytesAsync(bench.PathOf("policy.json"), Cancel);
        Assert.Equal(["boot-entries", "loader-commands"], JsonNode.Parse(text)!["events"]!["volatile"]!.AsObject().Select(m => m.Key));
        Assert.True(BootPolicy.TryParse(text, out var policy, out var error), error);
        foreach (var log in (string[])[first, second])
        {
            Assert.True(BootLog.TryParse(await File.ReadAllBytesAsync(log, Cancel), out var boot, out error), error);
            Assert.Empty(policy.PreviewUnproven(boot, TpmAlgorithm.Sha256).Findings);
        }
    }

    [Fact]
    public async Task What_differs_and_is_of_no_class_is_refused_in_words_and_nothing_is_written()
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        var (first, second) = (await WriteAsync(bench, "first", Debian()), await WriteAsync(bench, "second", Debian().AddMeasured(2, BootEventTypes.NonhostCode, "x"u8, "a card"u8)));
        var off = await WriteAsync(bench, "off", new BootLogBuilder(TpmAlgorithm.Sha256).Variable(7, BootEventTypes.VariableDriverConfig, EfiGuids.GlobalVariable, "SecureBoot", [0]).Separator(7));
        await RefusedAsync("Boot 2: PCR 2, event", first, second);
        await RefusedAsync("not every boot has it, and it is of no volatile class.", first, second);
        await RefusedAsync("Some of the boots have Secure Boot on and some off: that takes two policies.", first, off);
        await RefusedAsync("Boot 1: the log has no digests of sha384.", first, "--bank", "sha384");
        await RefusedAsync("'everything' is no volatile class; boot-order, ", first, "--volatile", "everything");

        async Task RefusedAsync(string says, params string[] args)
        {
            var (exit, text, error) = await bench.RunAsync(["policy", "create", "boot", .. args, "--out", bench.PathOf("policy.json")]);
            Assert.Equal((Exits.Failed, ""), (exit, text));
            Assert.Contains(says, error, StringComparison.Ordinal);
            Assert.False(File.Exists(bench.PathOf("policy.json")));
        }
    }

    [Fact]
    public async Task A_class_may_be_asked_for_before_anything_differs()
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        var made = await bench.RunAsync("policy", "create", "boot", await WriteAsync(bench, "log", Debian()), "--volatile", "boot-order", "--volatile", "partition-table");
        Assert.Equal(["boot-order", "partition-table"], JsonNode.Parse(made.Out)!["events"]!["volatile"]!.AsObject().Select(m => m.Key));
    }

    [Fact]
    public async Task A_missing_a_truncated_and_a_wrong_log_are_named_and_nothing_is_written()
    {
        await using var bench = await Bench.StartAsync(_ => (404, Bench.Problem(404, "no boot of it is proven")));
        var whole = Debian().Build();
        await File.WriteAllBytesAsync(bench.PathOf("cut"), whole.AsMemory(0, whole.Length - 1), Cancel);
        await File.WriteAllTextAsync(bench.PathOf("text"), "{}", Cancel);
        await File.WriteAllBytesAsync(bench.PathOf("empty"), [], Cancel);
        var good = await WriteAsync(bench, "good", Debian());
        foreach (var name in (string[])["cut", "text", "empty", "missing"])
        {
            var (exit, text, error) = await bench.RunAsync("policy", "create", "boot", good, bench.PathOf(name), "--out", bench.PathOf("policy.json"));
            Assert.Equal((Exits.Usage, ""), (exit, text));
            Assert.Contains(bench.PathOf(name), error, StringComparison.Ordinal);
        }

        Assert.Equal(Exits.Usage, (await bench.RunAsync("policy", "create", "boot", "--out", bench.PathOf("policy.json"))).Exit);
        Assert.Empty(bench.Requests);
        Assert.Equal(Exits.NotFound, (await bench.RunAsync("policy", "create", "boot", "--node", "a", "--out", bench.PathOf("policy.json"))).Exit);
        Assert.False(File.Exists(bench.PathOf("policy.json")));
    }

    private static BootLogBuilder Debian(string kernel = "kernel")
    {
        var log = BootLogBuilder.Debian(TpmAlgorithm.Sha256);
        for (var i = 0; kernel != "kernel" && i < log.Events.Count; i++)
        {
            if (log.Events[i].Pcr is 4 or 9) // the images, and what GRUB loads
                log.Events[i] = log.Events[i] with { Digests = [(TpmAlgorithm.Sha256, System.Security.Cryptography.SHA256.HashData(Encoding.UTF8.GetBytes($"{kernel} {i}")))] };
        }

        return log;
    }

    private static BootLog Parse(BootLogBuilder log)
    {
        Assert.True(BootLog.TryParse(log.Build(), out var parsed, out var error), error);
        return parsed;
    }

    private static async Task<string> WriteAsync(Bench bench, string name, BootLogBuilder log)
    {
        await File.WriteAllBytesAsync(bench.PathOf(name), log.Build(), Cancel);
        return bench.PathOf(name);
    }
}
