using System.Net;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Functions.Tests;

/// <summary>What an approval does beside admitting: see <see cref="IdentityTests"/> for that.</summary>
public sealed class ApprovalTests
{
    [Fact]
    public async Task An_approval_that_wants_other_policies_than_the_node_has_is_refused()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var key = Convert.ToHexStringLower(agent.Tpm.AttestationKey.ComputeName());
        foreach (var (node, status) in ((JsonObject?, HttpStatusCode)[])
        [
            (new JsonObject { ["runtimePolicy"] = "other" }, HttpStatusCode.Conflict),
            (new JsonObject { ["intervalSeconds"] = 7 }, HttpStatusCode.Conflict),
            (new JsonObject { ["pcrs"] = new JsonObject { ["7"] = new JsonArray(new string('0', 64)) } }, HttpStatusCode.Conflict),
            (new JsonObject { ["runtimePolicy"] = "node" }, HttpStatusCode.OK),
            (new JsonObject(), HttpStatusCode.OK),
            (null, HttpStatusCode.OK),
        ])
            (await service.Operator.SendAsync("POST", "/v1/nodes/node/approve", new JsonObject { ["attestationKeyName"] = key, ["node"] = node })).Expect(status);
    }

    [Fact]
    public async Task A_failure_that_a_crash_left_in_the_history_alone_is_told_though_another_key_is_approved_next()
    {
        var folder = Directory.CreateTempSubdirectory("approve-").FullName;
        var clock = new FakeTimeProvider(TimeProvider.System.GetUtcNow());
        var fuse = new StoreFuse();
        TestAgent agent;
        await using (var service = await TestService.StartAsync(fuse.Install, folder, clock))
        {
            agent = await TestAgent.EnrolledAsync(service, "node");
            Assert.True(await agent.WithNewKey().RegisterAsync(service));
            await agent.MeasureAsync("/evil");
            var asked = await agent.AskedAsync();
            fuse.Arm(2, after: true); // the lines of the list and the verdict, and nothing behind them
            Assert.Equal(HttpStatusCode.ServiceUnavailable, (await agent.SubmitAsync(asked, agent.Collect(asked))).Status);
        }

        await using (var service = await TestService.StartAsync(folder: folder, clock: clock))
        {
            var key = Convert.ToHexStringLower(agent.WithNewKey().Tpm.AttestationKey.ComputeName());
            (await service.Operator.SendAsync("POST", "/v1/nodes/node/approve", new JsonObject { ["attestationKeyName"] = key })).Expect(HttpStatusCode.OK);
            await service.IsAsync("failed", "/evil");
            await service.ToldOnceAsync("node.failed", "registration.key_change_approved");
            await service.CountsAgreeAsync();
        }

        agent.Dispose();
        Directory.Delete(folder, recursive: true);
    }
}
