using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Agent.Tests;

/// <summary>The doctor on a real software TPM, with one thing wrong at a time.</summary>
public sealed class DoctorTests
{
    // Each is there, whatever is wrong: a line that is missing would be taken for one that is well.
    private static readonly string[] Checks =
    [
        "IMA list", "IMA policy", "boot log", "privileges", "keylime_dir", "payload_dir", "TPM", "PCR banks", "attestation key", "EK certificate", "EK chain",
        "name resolution", "TLS", "clock", "registrar", "verifier",
    ];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task It_looks_at_the_logs_then_becomes_the_agents_user_then_uses_the_TPM_and_makes_nothing()
    {
        await using var rig = await AgentRig.StartAsync(lines: 3);
        using var said = new StringWriter();
        var order = new List<string>();
        var options = rig.Options(new Uri("https://127.0.0.1:1")) with { KeylimeDir = Directory.CreateDirectory(Path.Combine(rig.Home, "data")).FullName };
        await new Doctor(options, () => { order.Add("tpm"); return TpmDevices.Open(rig.Swtpm.Spec); }, () => order.Add(said.ToString().Contains("IMA list: 3 lines", StringComparison.Ordinal) ? "logs, drop" : "drop"),
            said, TimeProvider.System, new DoctorPaths()).RunAsync(Cancel);
        Assert.Equal(["logs, drop", "tpm"], order);
        Assert.Empty(Directory.EnumerateFileSystemEntries(options.KeylimeDir)); // a key of root's would be in the agent's way
        Assert.Contains("holds none yet", said.ToString(), StringComparison.Ordinal);
        Assert.Contains("ok      EK certificate: ", said.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("no TPM", "TPM", "PCR banks", "attestation key", "EK certificate", "EK chain")]
    [InlineData("no list", "IMA list", "IMA policy")]
    [InlineData("an empty list", "IMA policy")]
    [InlineData("no folder", "keylime_dir", "attestation key")]
    [InlineData("payloads on a disk", "payload_dir")]
    [InlineData("no payload folder", "payload_dir")]
    [InlineData("no such user", "privileges")]
    [InlineData("no such name", "name resolution")]
    [InlineData("no CA")]
    [InlineData("no service")]
    public async Task What_is_wrong_is_said_with_what_to_do_next_and_nothing_is_left_out(string trouble, params string[] wrong)
    {
        await using var rig = await AgentRig.StartAsync(lines: trouble == "an empty list" ? 1 : 3);
        using var said = new StringWriter();
        var ca = Path.Combine(rig.Home, "ca.pem");
        await File.WriteAllTextAsync(ca, TestCertificates.Root.ExportCertificatePem(), Cancel);
        var options = rig.Options(new Uri(trouble == "no such name" ? "https://no-such-name.invalid:1" : "https://127.0.0.1:1")) with { VerifierTlsCaCert = trouble == "no CA" ? ca + ".not" : ca };
        options = trouble switch
        {
            "no list" => options with { ImaMlPath = Path.Combine(rig.Home, "nothing") },
            "payloads on a disk" => options with { PayloadDir = AppContext.BaseDirectory },
            "no payload folder" => options with { PayloadDir = "/dev/shm/nothing" },
            "no folder" => options with { KeylimeDir = Path.Combine(rig.Home, "nothing") },
            _ => options,
        };
        var doctor = new Doctor(
            options,
            () => trouble == "no TPM" ? throw new IOException("There is no TPM.") : TpmDevices.Open(rig.Swtpm.Spec),
            () => _ = trouble == "no such user" ? throw new OptionsException("there is no user 'keylime'.", "make it") : 0,
            said, TimeProvider.System, new DoctorPaths(Path.Combine(rig.Home, "no-command-line")));
        Assert.False(await doctor.RunAsync(Cancel));

        var lines = said.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        foreach (var check in Checks)
            Assert.Contains(lines, line => line.StartsWith($"ok      {check}: ", StringComparison.Ordinal) || line.StartsWith($"not ok  {check}: ", StringComparison.Ordinal));
        for (var i = 0; i < lines.Length - 1; i++)
            Assert.Equal(lines[i].StartsWith("not ok", StringComparison.Ordinal), lines[i + 1].StartsWith("        next: ", StringComparison.Ordinal));

        // There is no service and no boot log in any of these.
        var expected = wrong.Concat(["boot log", "TLS", "clock", "registrar", "verifier"]).Order(StringComparer.Ordinal);
        Assert.Equal(expected, lines.Where(static l => l.StartsWith("not ok", StringComparison.Ordinal)).Select(static l => l[8..l.IndexOf(':')]).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("garbage", "cannot be read")]
    [InlineData("another key", "it is not of this TPM's L-1 key")]
    [InlineData("its own", null)]
    public async Task What_stands_in_the_place_of_the_EK_certificate_is_looked_at(string what, string? objection)
    {
        await using var swtpm = await Swtpm.StartAsync(new SwtpmOptions { PcrBanks = "sha256" }, Cancel);
        byte[] content;
        await using (var tpm = swtpm.OpenClient())
        {
            var own = KeyTemplates.EndorsementKeys.Single(static p => p.Name == "L-1").Template;
            var key = await tpm.CreatePrimaryAsync(TpmClient.Endorsement, what == "another key" ? KeyTemplates.Iak("H-1") : own, Cancel);
            await tpm.FlushContextAsync(key.Handle, Cancel);
            content = what == "garbage" ? [0x30, 0x03, 1, 2, 3] : TestCertificates.Issue(key.Public).RawData;
        }

        await File.WriteAllBytesAsync(Path.Combine(swtpm.Folder, "ek.der"), content, Cancel);
        await swtpm.RunToolAsync("tpm2_nvdefine", "0x01C00002", "-C", "o", "-s", $"{content.Length}", "-a", "ownerread|ownerwrite|authread|no_da");
        await swtpm.RunToolAsync("tpm2_nvwrite", "0x01C00002", "-C", "o", "-i", "ek.der");

        using var said = new StringWriter();
        var options = new AgentOptions { VerifierUrl = new Uri("https://127.0.0.1:1"), KeylimeDir = swtpm.Folder, ImaMlPath = "/nothing" };
        await new Doctor(options, () => TpmDevices.Open(swtpm.Spec), static () => { }, said, TimeProvider.System, new DoctorPaths()).RunAsync(Cancel);
        var line = said.ToString().Split('\n').Single(static l => l.Contains("  EK certificate: ", StringComparison.Ordinal));
        if (objection is null)
            Assert.StartsWith("ok      EK certificate: L-1, of 'CN=Test TPM root, O=Maker'", line, StringComparison.Ordinal);
        else
            Assert.Contains(objection, line, StringComparison.Ordinal);
    }
}
