using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Functions.Tests;

/// <summary>A node with a boot policy: its event log is asked for once a boot, and what it booted is part of every verdict.</summary>
public sealed class BootTests
{
    private const string PolicyName = "boot-debian";

    [Fact]
    public async Task A_boot_is_proven_once_and_counts_until_it_ends()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await BootedAsync(service);
        var first = await agent.AskedAsync();
        Assert.True(first.BootLog);
        Assert.Equal("pass", (await SubmitAsync(agent, first))["evaluation"]!.GetValue<string>());
        Assert.Equal("event-log", await CoverageAsync(agent));

        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        var second = await agent.AskedAsync();
        Assert.False(second.BootLog);
        Assert.Equal("pass", (await SubmitAsync(agent, second))["evaluation"]!.GetValue<string>());
        Assert.Equal("event-log", await CoverageAsync(agent));

        // The machine boots anew, the same way: nobody has to do anything.
        await RebootAsync(agent, Debian());
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        await agent.AuthenticateAsync();
        var third = await agent.AskedAsync();
        Assert.True(third.BootLog);
        Assert.Equal("pass", (await SubmitAsync(agent, third))["evaluation"]!.GetValue<string>());
    }

    [Fact]
    public async Task A_machine_that_hides_its_reboot_fails_and_proves_itself_with_the_next()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await BootedAsync(service);
        await agent.AttestAsync();
        await RebootAsync(agent, Debian());
        agent.BootTime = agent.BootTime.AddMinutes(-10); // as if it had not
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        await agent.AuthenticateAsync();
        var asked = await agent.AskedAsync();
        Assert.False(asked.BootLog);
        var verdict = await SubmitAsync(agent, asked);
        Assert.Equal(("fail", "boot.log_missing"), (verdict["evaluation"]!.GetValue<string>(), verdict["findings"]![0]!["code"]!.GetValue<string>()));

        agent.BootTime = agent.BootTime.AddMinutes(10);
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
    }

    [Fact]
    public async Task A_changed_command_line_fails_with_the_event_named()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await BootedAsync(service);
        await agent.AttestAsync();
        var changed = Debian();
        for (var i = 0; i < changed.Events.Count; i++)
        {
            if (Encoding.UTF8.GetString(changed.Events[i].Data).StartsWith("kernel_cmdline: ", StringComparison.Ordinal))
            {
                changed.Events.RemoveAt(i);
                changed.KernelCommandLine("/vmlinuz root=/dev/vda2 quiet init=/bin/sh");
                break;
            }
        }

        await RebootAsync(agent, changed);
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        await agent.AuthenticateAsync();
        Assert.Equal("fail", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        var finding = (await agent.NodeAsync())["lastVerdict"]!["findings"]![0]!;
        Assert.Equal(8, finding["event"]!["pcr"]!.GetValue<int>());
        Assert.Contains("init=/bin/sh", finding["event"]!["seen"]!.GetValue<string>(), StringComparison.Ordinal);

        // It stays failed, and stays judged: the log is asked for each time.
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        Assert.True((await agent.AskedAsync()).BootLog);
    }

    [Fact]
    public async Task A_log_of_another_boot_a_log_that_is_none_and_no_log_fail()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await BootedAsync(service);
        Assert.Equal("boot.pcr_mismatch", await FindingAsync(agent, Debian().Separator(4).Build()));
        await agent.AuthenticateAsync(); // a session does not grow by failures
        Assert.Equal("boot.log_malformed", await FindingAsync(agent, "no log"u8.ToArray()));
        Assert.Equal("boot.log_malformed", await FindingAsync(agent, []));
        Assert.Equal("none", await CoverageAsync(agent));

        // One who has none to offer is told so.
        agent.BootLog = null;
        await agent.AuthenticateAsync();
        var refused = await agent.AskAsync();
        Assert.Equal(HttpStatusCode.UnprocessableEntity, refused.Status);
        Assert.Contains("uefi_log", refused.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task PCRs_that_move_after_the_boot_was_proven_fail()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await BootedAsync(service);
        await agent.AttestAsync();
        agent.Tpm.Extend(TpmAlgorithm.Sha256, 4, new byte[32]);
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        var verdict = await agent.AttestAsync();
        Assert.Equal("boot.log_missing", verdict["findings"]![0]!["code"]!.GetValue<string>());
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        Assert.Equal("boot.pcr_mismatch", (await agent.AttestAsync())["findings"]![0]!["code"]!.GetValue<string>());
    }

    [Fact]
    public async Task Another_policy_judges_the_boot_again_and_the_kept_log_can_be_fetched()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await BootedAsync(service);
        await agent.AttestAsync();
        using var kept = await service.Operator.GetAsync(new Uri($"/v1/nodes/{agent.Id}/boot-log", UriKind.Relative), TestContext.Current.CancellationToken);
        Assert.Equal(agent.BootLog, await kept.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken));
        using var list = await service.Operator.GetAsync(new Uri($"/v1/nodes/{agent.Id}/measurement-list", UriKind.Relative), TestContext.Current.CancellationToken);
        Assert.Equal(agent.ImaList, await list.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken));

        (await service.Operator.SendAsync("PUT", $"/v1/policies/{PolicyName}", Policy().Replace("quiet", "verbose", StringComparison.Ordinal))).Expect(HttpStatusCode.OK);
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        var asked = await agent.AskedAsync();
        Assert.True(asked.BootLog);
        Assert.Equal("fail", (await SubmitAsync(agent, asked))["evaluation"]!.GetValue<string>());
    }

    internal static BootLogBuilder Debian() => BootLogBuilder.Debian(TpmAlgorithm.Sha1, TpmAlgorithm.Sha256);

    /// <summary>A policy that allows exactly what <see cref="Debian"/> boots.</summary>
    internal static string Policy()
    {
        Assert.True(Attestation.BootLog.TryParse(Debian().Build(), out var log, out var error), error);
        return Encoding.UTF8.GetString(BootPolicies.Of(log));
    }

    internal static async Task<TestAgent> BootedAsync(TestService service, string id = "booted")
    {
        var log = Debian();
        var tpm = new SoftwareTpm();
        log.Measure(tpm);
        var agent = new TestAgent(service, id, tpm) { BootLog = log.Build() };
        await agent.Ima.StartAsync(TestContext.Current.CancellationToken);
        await agent.MeasureAsync("/usr/bin/tool");
        await agent.RegisterAsync();
        await agent.PutPolicyAsync();
        (await service.Operator.SendAsync("PUT", $"/v1/policies/{PolicyName}", Policy())).Expect(HttpStatusCode.Created);
        (await service.Operator.SendAsync("PUT", $"/v1/nodes/{id}", new JsonObject { ["runtimePolicy"] = id, ["bootPolicy"] = PolicyName })).Expect(HttpStatusCode.Created);
        await agent.AuthenticateAsync();
        return agent;
    }

    private static async Task RebootAsync(TestAgent agent, BootLogBuilder log)
    {
        agent.Tpm.Reset();
        log.Measure(agent.Tpm);
        agent.BootLog = log.Build();
        agent.BootTime = agent.BootTime.AddMinutes(10);
        await agent.RestartImaAsync();
    }

    private static async Task<JsonNode> SubmitAsync(TestAgent agent, Asked asked) =>
        (await agent.SubmitAsync(asked, agent.Collect(asked))).Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!;

    private static async Task<string> CoverageAsync(TestAgent agent) => (await agent.NodeAsync())["node"]!["coverage"]!["boot"]!.GetValue<string>();

    private static async Task<string> FindingAsync(TestAgent agent, byte[] log)
    {
        var verdict = await agent.AttestAsync(e => e with { BootLog = log });
        agent.Service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        Assert.Equal("fail", verdict["evaluation"]!.GetValue<string>());
        return verdict["findings"]![0]!["code"]!.GetValue<string>();
    }
}
