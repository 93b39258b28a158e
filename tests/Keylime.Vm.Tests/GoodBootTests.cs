using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Protocol.Api;

namespace Keylime.Vm.Tests;

/// <summary>One boot of a machine that is as it should be, and what may happen on it. ./test runs this.</summary>
public sealed class GoodBootTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_machine_that_boots_well_is_trusted_with_an_update_that_was_announced_and_fails_with_a_program_that_nobody_knows()
    {
        await using var bench = await Bench.StartAsync(Cancel);
        await bench.BootAsync(Cancel);
        await bench.EnrolAsync(Cancel);
        var good = await bench.WaitForVerdictOnAllAsync(Cancel);
        Assert.Equal(("pass", "ek-certificate", "event-log", "ima"), (good.Evaluation, good.Coverage.Identity, good.Coverage.Boot, good.Coverage.Runtime));

        await Recording.WriteAsync(bench.Machine, "good", Cancel);

        // A secret that it takes all of this to open.
        await bench.PutPayloadAsync("opened after a good boot", Cancel);
        await bench.WaitForPayloadAsync("opened after a good boot", Cancel);
        Assert.Equal(("granted", 1), await bench.AskPayloadAsync(Cancel));

        // The policy learns the new program before the machine does.
        const string update = "#!/bin/sh\necho updated\n";
        await AllowAsync(bench, "/usr/local/bin/update", update);
        Assert.Equal("updated", (await RunNewProgramAsync(bench, "/usr/local/bin/update", update)).Trim());
        var updated = await bench.WaitForVerdictOnAllAsync(Cancel);
        Assert.True(updated.ImaTo > good.ImaTo, $"{updated.ImaTo}");
        Assert.Equal(("pass", NodeState.Trusted), (updated.Evaluation, (await bench.ShowAsync(Cancel)).Node.State));

        await RunNewProgramAsync(bench, "/usr/local/bin/miner", "#!/bin/sh\necho dig\n");
        var failed = await bench.WaitAsync("it has failed", n => n.State == NodeState.Failed, Cancel);
        await Recording.WriteAsync(bench.Machine, "unknown-program", Cancel);
        var finding = Assert.Single(failed.LastVerdict!.Findings);
        Assert.Equal("ima.not_in_policy", finding.Code);
        Assert.Contains("/usr/local/bin/miner", finding.Detail, StringComparison.Ordinal);
        Assert.Contains("/usr/local/bin/miner", failed.Node.Reason, StringComparison.Ordinal);
        await bench.WaitForPayloadAsync("", Cancel); // wiped
        Assert.Equal(("node_failed", 1), await bench.AskPayloadAsync(Cancel));
    }

    private static Task<string> RunNewProgramAsync(Bench bench, string path, string text) =>
        bench.Machine.RunAsync($"printf '{text.Replace("\n", "\\n", StringComparison.Ordinal)}' >{path} && chmod 755 {path} && {path}", Cancel);

    private static async Task AllowAsync(Bench bench, string path, string text)
    {
        var policy = JsonNode.Parse(await File.ReadAllTextAsync(bench.RuntimePolicyPath, Cancel))!;
        policy["digests"]![path] = new JsonArray(Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(text))));
        await File.WriteAllTextAsync(bench.RuntimePolicyPath, policy.ToJsonString(), Cancel);
        await bench.PutRuntimePolicyAsync(bench.RuntimePolicyPath, Cancel);
    }
}
