using System.Net;
using System.Text.Json.Nodes;
using Keylime.Functions.Storage.Sqlite;

namespace Keylime.Functions.Tests;

/// <summary>What a row that cannot be read is to those who do not need it.</summary>
public sealed class DamagedRowTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_node_whose_last_verdict_cannot_be_read_is_shown_retired_and_enrolled_anew()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();
        await DamageAsync(service, "UPDATE verdicts SET body = x'7b'");

        var shown = await agent.NodeAsync();
        Assert.Equal("trusted", shown["node"]!["state"]!.GetValue<string>());
        Assert.Null(shown["lastVerdict"]);
        Assert.Empty((await service.Operator.SendAsync("GET", "/v1/nodes/node/verdicts")).Expect(HttpStatusCode.OK)["verdicts"]!.AsArray());
        (await service.Operator.SendAsync("POST", "/v1/nodes/node/retire")).Expect(HttpStatusCode.OK);
        (await service.Operator.SendAsync("POST", "/v1/nodes/node/reactivate")).Expect(HttpStatusCode.OK);
        await agent.AuthenticateAsync();
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>()); // and it attests

        await DamageAsync(service, "UPDATE registrations SET body = x'7b'");
        await agent.NodeAsync();
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await service.Operator.SendAsync("GET", "/v2.6/agents/node")).Status); // who wants that very row
    }

    [Fact]
    public async Task The_sweep_tells_of_it_once_whoever_met_it()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await DamageAsync(service, "UPDATE nodes SET body = x'7b'");
        Assert.Empty((await service.Operator.SendAsync("GET", "/v1/nodes")).Expect(HttpStatusCode.OK)["nodes"]!.AsArray());
        await service.SweepAsync();
        await service.Operator.SendAsync("GET", "/v1/nodes");
        await service.SweepAsync();
        var told = (await service.Operator.SendAsync("GET", "/v1/events?type=storage.row_unreadable")).Expect(HttpStatusCode.OK)["events"]!.AsArray();
        Assert.Contains("'node'", Assert.Single(told)!["detail"]!.GetValue<string>(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_policy_is_not_deleted_while_a_rule_or_a_node_that_cannot_be_read_uses_it()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await DamageAsync(service, "UPDATE nodes SET body = x'7b'");
        var refused = await service.Operator.SendAsync("DELETE", "/v1/policies/node");
        Assert.Equal(HttpStatusCode.Conflict, refused.Status);
        Assert.Contains("cannot be read", refused.Text, StringComparison.Ordinal);

        await DamageAsync(service, "DELETE FROM nodes");
        (await service.Operator.SendAsync("PUT", "/v1/enrolment-rules/r", new JsonObject { ["kind"] = "ek-list", ["node"] = new JsonObject { ["runtimePolicy"] = "node" } })).Expect(HttpStatusCode.OK);
        refused = await service.Operator.SendAsync("DELETE", "/v1/policies/node");
        Assert.Contains("enrolment rule 'r'", refused.Json["detail"]!.GetValue<string>(), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.NoContent, (await service.Operator.SendAsync("DELETE", "/v1/enrolment-rules/r")).Status);
        Assert.Equal(HttpStatusCode.NoContent, (await service.Operator.SendAsync("DELETE", "/v1/policies/node")).Status);
    }

    private static Task<int> DamageAsync(TestService service, string sql) => service.Get<SqliteDatabase>().WriteAsync(connection => connection.Execute(sql), Cancel);
}
