using System.Net;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;

namespace Keylime.Functions.Tests;

/// <summary>Questions to a service about the node of the crash tests.</summary>
internal static class CrashQuestions
{
    public static async Task IsAsync(this TestService service, string state, string reason)
    {
        var node = (await service.Operator.SendAsync("GET", "/v1/nodes/node")).Expect(HttpStatusCode.OK)["node"]!;
        Assert.Equal(state, node["state"]!.GetValue<string>());
        Assert.Contains(reason, node["reason"]!.GetValue<string>(), StringComparison.Ordinal);
    }

    public static async Task<string[]> EventTypesAsync(this TestService service, string path = "/v1/nodes/node/events") =>
        [.. (await service.Operator.SendAsync("GET", path + "?limit=1000")).Expect(HttpStatusCode.OK)["events"]!.AsArray().Select(e => e!["type"]!.GetValue<string>())];

    public static async Task ToldOnceAsync(this TestService service, params string[] types)
    {
        var told = await service.EventTypesAsync();
        var fleet = await service.EventTypesAsync("/v1/events");
        foreach (var type in types)
        {
            Assert.True(told.Count(t => t == type) == 1, $"{type} is told {told.Count(t => t == type)} times.");
            Assert.True(fleet.Count(t => t == type) == 1, $"{type} is told {fleet.Count(t => t == type)} times of the fleet.");
        }
    }

    /// <summary>Each event that machines are told of is one notice, and the numbers have no gap.</summary>
    public static async Task NoticesAgreeAsync(this TestService service)
    {
        var told = (await service.EventTypesAsync("/v1/events")).Count(Keylime.Protocol.Notices.NoticeTypes.All.Contains);
        var notices = (await service.Operator.SendAsync("GET", "/v1/notices?limit=1000")).Expect(HttpStatusCode.OK)["notices"]!.AsArray().Select(static n => n!["notice"]!).ToArray();
        Assert.Equal(Enumerable.Range(1, told), notices.Select(static n => n["number"]!.GetValue<int>()).Reverse());
        Assert.Equal(told, notices.Select(static n => n["id"]!.GetValue<string>()).Distinct().Count());
    }

    /// <param name="most">Verdicts that there may be: a request that is repeated may be an attestation more.</param>
    public static async Task CountsAgreeAsync(this TestService service, int most = 2)
    {
        var verdicts = (await service.Operator.SendAsync("GET", "/v1/nodes/node/verdicts")).Expect(HttpStatusCode.OK)["verdicts"]!.AsArray();
        var node = (await service.Operator.SendAsync("GET", "/v1/nodes/node")).Expect(HttpStatusCode.OK)["node"]!;
        Assert.Equal(verdicts.Count, node["attestations"]!.GetValue<int>());
        Assert.InRange(verdicts.Count, 1, most);
    }

    public static async Task<int> CountEventsAsync(this TestService service, string type) => (await service.EventTypesAsync("/v1/events")).Count(t => t == type);

    public static async Task<int> CountVerdictsAsync(this TestService service) =>
        (await service.Operator.SendAsync("GET", "/v1/nodes/node/verdicts")).Expect(HttpStatusCode.OK)["verdicts"]!.AsArray().Count;

    public static async Task<string> StateOfNodeAsync(this TestService service) =>
        (await service.Operator.SendAsync("GET", "/v1/nodes/node")).Expect(HttpStatusCode.OK)["node"]!["state"]!.GetValue<string>();

    public static async Task<int> IntervalOfNodeAsync(this TestService service) =>
        (await service.Operator.SendAsync("GET", "/v1/nodes/node")).Expect(HttpStatusCode.OK)["node"]!["intervalSeconds"]!.GetValue<int>();

    public static async Task<string> KeyOfNodeAsync(this TestService service) =>
        (await service.Operator.SendAsync("GET", "/v1/nodes/node")).Expect(HttpStatusCode.OK)["attestationKeyName"]!.GetValue<string>();

    /// <returns>Whether the sweep came to its end.</returns>
    public static async Task<bool> SweepAsync(this TestService service)
    {
        try
        {
            await service.Get<Sweep>().RunAsync(TestContext.Current.CancellationToken);
            return true;
        }
        catch (StorageUnavailableException)
        {
            return false;
        }
    }

    /// <summary>Removes a row as nothing in the service does.</summary>
    public static async Task DropAsync<T>(this IRecordStore<T> store, string key)
        where T : class => Assert.True(await store.TryDeleteAsync((await store.FindAsync(key, TestContext.Current.CancellationToken))!, TestContext.Current.CancellationToken));
}
