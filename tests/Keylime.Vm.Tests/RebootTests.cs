using Keylime.Protocol.Api;

namespace Keylime.Vm.Tests;

/// <summary>A machine that boots again, as it was: nobody has to do anything.</summary>
public sealed class RebootTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_reboot_goes_on_without_an_operator()
    {
        await using var bench = await Bench.StartAsync(Cancel);
        await bench.BootAsync(Cancel);
        await bench.EnrolAsync(Cancel);
        var before = (await bench.WaitForVerdictOnAllAsync(Cancel)).Clock!;

        await bench.Machine.RebootAsync(Cancel);
        var after = await bench.WaitForVerdictAsync("of the second boot", v => v.Clock?.ResetCount > before.ResetCount, Cancel);
        await Recording.WriteAsync(bench.Machine, "reboot", Cancel);

        Assert.Equal(("pass", "ek-certificate", "event-log", "ima", 0L), (after.Evaluation, after.Coverage.Identity, after.Coverage.Boot, after.Coverage.Runtime, after.ImaFrom));
        Assert.Equal(before.ResetCount + 1, after.Clock!.ResetCount);
        var node = (await bench.ShowAsync(Cancel)).Node;
        Assert.Equal(NodeState.Trusted, node.State);
    }
}
