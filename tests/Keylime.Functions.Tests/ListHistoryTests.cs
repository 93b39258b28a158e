using System.Net;
using Keylime.Tpm;

namespace Keylime.Functions.Tests;

/// <summary>What becomes of a measurement list between two attestations without a reset between them: it only ever grows.</summary>
public sealed class ListHistoryTests
{
    [Fact]
    public async Task A_list_that_is_shorter_than_it_was_does_not_pass()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());

        await RollBackAsync(agent, lines: 3);
        await FailsAsync(service, agent);

        // nor does it help to be asked again, from the start
        await FailsAsync(service, agent);
    }

    [Fact]
    public async Task A_kernel_that_was_started_by_another_without_a_reset_passes_with_the_whole_list_only()
    {
        // kexec: PCR 10 goes on from where it was; a list that the new kernel did not inherit begins anew.
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        var before = agent.ImaList;

        await RollBackAsync(agent, lines: 0);
        await agent.MeasureAsync("/usr/bin/tool0"); // allowed, and measured
        await FailsAsync(service, agent);
        await FailsAsync(service, agent);

        // inherited, as kernels with IMA's buffer in kexec do it
        await agent.WriteListAsync([.. before, .. agent.ImaList]);
        service.Clock.Advance(TimeSpan.FromSeconds(60));
        await agent.AuthenticateAsync();
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
    }

    [Fact]
    public async Task Lines_that_are_behind_PCR_10_do_not_pass_and_lines_ahead_of_it_wait()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AskedAsync();
        var early = agent.Collect(asked);
        await agent.MeasureAsync("/usr/bin/tool1"); // between the list's end and the quote
        var late = agent.Collect(asked);
        var reply = await agent.SubmitAsync(asked, late with { Lines = early.Lines });
        Assert.Equal("fail", reply.Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!["evaluation"]!.GetValue<string>());

        // read in the right order, the list may be ahead
        service.Clock.Advance(TimeSpan.FromSeconds(60));
        await agent.AuthenticateAsync();
        asked = await agent.AskedAsync();
        var quoted = agent.Collect(asked);
        await agent.MeasureAsync("/usr/bin/tool2");
        var passed = await agent.SubmitAsync(asked, quoted with { Lines = agent.Collect(asked).Lines });
        Assert.Equal("pass", passed.Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!["evaluation"]!.GetValue<string>());
        service.Clock.Advance(TimeSpan.FromSeconds(60));
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
    }

    [Fact]
    public async Task A_machine_that_is_set_back_to_a_snapshot_does_not_pass()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var (clock, list, pcr) = (agent.Tpm.Clock, agent.ImaList, agent.Tpm.Read(TpmAlgorithm.Sha256, 10));
        await agent.MeasureAsync("/usr/bin/tool1");
        agent.Tpm.Clock = clock with { Milliseconds = clock.Milliseconds + 60_000 };
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());

        agent.Tpm.Clock = clock;
        agent.Tpm.Set(TpmAlgorithm.Sha256, 10, pcr);
        await agent.WriteListAsync(list);
        await FailsAsync(service, agent);
    }

    private static async Task RollBackAsync(TestAgent agent, int lines)
    {
        var end = 0;
        for (; lines > 0; lines--)
            end += agent.ImaList.AsSpan(end).IndexOf((byte)'\n') + 1;
        await agent.WriteListAsync(agent.ImaList[..end]);
    }

    private static async Task FailsAsync(TestService service, TestAgent agent)
    {
        service.Clock.Advance(TimeSpan.FromSeconds(60));
        await agent.AuthenticateAsync();
        Assert.Equal("fail", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        Assert.Equal("failed", (await agent.NodeAsync())["node"]!["state"]!.GetValue<string>());
    }
}
