using System.Net;
using System.Text.Json.Nodes;
using Keylime.Functions.Nodes;

namespace Keylime.Functions.Tests;

/// <summary>What heals a node that failed.</summary>
public sealed class RecoveryTests
{
    [Theory]
    [InlineData(null, "f p", "failed trusted", 1)]
    [InlineData("pass", "p f p", "trusted failed trusted", 1)]
    [InlineData("passes:3", "p f p p p", "trusted failed failed failed trusted", 1)]
    [InlineData("passes:2", "f p f p p", "failed failed failed failed trusted", 1)]
    [InlineData("operator", "p f p p o f o p o", "trusted failed failed failed trusted failed failed failed trusted", 2)]
    [InlineData("operator", "f o p o o", "failed failed failed trusted trusted", 1)]
    public async Task A_failure_is_healed_by_what_is_set_and_by_nothing_less(string? recovery, string steps, string states, int recovered)
    {
        await using var service = await TestService.StartAsync();
        using var agent = new TestAgent(service, "node");
        await agent.Ima.StartAsync(TestContext.Current.CancellationToken);
        await agent.MeasureAsync("/usr/bin/tool");
        await agent.RegisterAsync();
        await agent.PutPolicyAsync();
        (await service.Operator.SendAsync("PUT", "/v1/nodes/node", new JsonObject { ["runtimePolicy"] = "node", ["intervalSeconds"] = 1, ["recovery"] = recovery })).Expect(HttpStatusCode.Created);
        await agent.AuthenticateAsync();

        foreach (var (number, (step, state)) in steps.Split(' ').Zip(states.Split(' ')).Index())
        {
            if (step != "o")
                service.Clock.Advance(TimeSpan.FromSeconds(1));
            switch (step)
            {
                case "o":
                    var failing = await service.StateOfNodeAsync() == "failed" && (await agent.NodeAsync())["lastVerdict"]!["evaluation"]!.GetValue<string>() == "fail";
                    Assert.Equal(failing ? HttpStatusCode.Conflict : HttpStatusCode.OK, (await service.Operator.SendAsync("POST", "/v1/nodes/node/recover")).Status);
                    break;
                case "p":
                    await agent.PutPolicyAsync();
                    Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
                    break;
                default:
                    await agent.MeasureAsync($"/evil/{number}");
                    Assert.Equal("fail", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
                    break;
            }

            Assert.True(state == await service.StateOfNodeAsync(), $"Behind step {number}, '{step}': {await agent.NodeAsync()}");
            var listed = (await service.Operator.SendAsync("GET", $"/v1/nodes?state={state}")).Expect(HttpStatusCode.OK);
            Assert.Single(listed["nodes"]!.AsArray());
        }

        Assert.Equal(recovered, (await service.EventTypesAsync()).Count(static t => t == "node.recovered"));
        Assert.Equal(recovery ?? "pass", (await agent.NodeAsync())["recovery"]!.GetValue<string>());
    }

    [Fact]
    public async Task A_failure_is_not_forgotten_when_the_setting_changes_before_it_is_healed()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.MeasureAsync("/evil");
        await agent.AttestAsync();
        (await service.Operator.SendAsync("PATCH", "/v1/nodes/node", """{"recovery":"operator"}""")).Expect(HttpStatusCode.OK);
        await agent.PutPolicyAsync();
        service.Clock.Advance(TimeSpan.FromSeconds(60));
        await agent.AttestAsync();
        await service.IsAsync("failed", "waits for an operator (keylime node recover node): ");

        // Silence does not heal it, and to be away does not either.
        service.Clock.Advance(TimeSpan.FromHours(1));
        Assert.True(await service.SweepAsync());
        Assert.Equal("failed", await service.StateOfNodeAsync());
        Assert.DoesNotContain("node.late", await service.EventTypesAsync());

        // Once it is healed by word, its silence is what is left of it, and is told.
        (await service.Operator.SendAsync("POST", "/v1/nodes/node/recover")).Expect(HttpStatusCode.OK);
        Assert.Equal("silent", await service.StateOfNodeAsync());
        await service.ToldOnceAsync("node.late", "node.silent", "node.recovered");
    }

    [Theory]
    [InlineData("pass", true)]
    [InlineData("operator", true)]
    [InlineData("passes:2", true)]
    [InlineData("passes:100", true)]
    [InlineData("passes:1", false)]
    [InlineData("passes:101", false)]
    [InlineData("passes:02", false)]
    [InlineData("passes:+2", false)]
    [InlineData("passes: 2", false)]
    [InlineData("passes:", false)]
    [InlineData("passes", false)]
    [InlineData("", false)]
    [InlineData("Pass", false)]
    [InlineData("never", false)]
    public async Task Only_what_is_known_is_taken(string recovery, bool good)
    {
        Assert.Equal(good, Recoveries.IsValid(recovery));
        if (good)
            return;
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var refused = await service.Operator.SendAsync("PATCH", "/v1/nodes/node", new JsonObject { ["recovery"] = recovery });
        Assert.Equal(HttpStatusCode.BadRequest, refused.Status);
        Assert.Contains("recovery: pass, passes:N", refused.Text, StringComparison.Ordinal);
    }
}
