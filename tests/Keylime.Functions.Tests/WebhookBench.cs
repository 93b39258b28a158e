using System.Globalization;
using System.Net;
using System.Text.Json.Nodes;
using Keylime.Functions.Notifications;
using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Tests;

/// <summary>What tests of webhooks do to a service.</summary>
internal static class WebhookBench
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <returns>Its secret, where one was made.</returns>
    public static async Task<string?> PutWebhookAsync(this TestService service, string name, HookServer receiver, string filters = "{}")
    {
        var message = JsonNode.Parse(filters)!.AsObject();
        message["url"] = receiver.Url;
        return (await service.Operator.SendAsync("PUT", $"/v1/webhooks/{name}", message)).Expect(HttpStatusCode.OK)["webhook"]!["secret"]?.GetValue<string>();
    }

    /// <summary>Has an event happen, as the service has them happen.</summary>
    public static Task HappenAsync(this TestService service, string node, string type, long cause = 0) =>
        service.Get<IEventStore>().AddAsync(EventRecord.Of(AgentId.Parse(node), service.Clock.GetUtcNow(), type, $"{type} {cause}", cause), Cancel);

    /// <summary>Delivers all that is due.</summary>
    public static async Task DeliverAsync(this TestService service)
    {
        var all = await service.Get<Webhooks>().AllAsync(Cancel);
        await Task.WhenAll(all.Select(webhook => service.Get<Dispatcher>().RunAsync(webhook.Channel, Cancel)));
    }

    public static async Task<JsonObject[]> DeliveriesAsync(this TestService service, string webhook, string list = "deliveries") =>
        [.. (await service.Operator.SendAsync("GET", $"/v1/webhooks/{webhook}/{list}?limit=1000")).Expect(HttpStatusCode.OK)["deliveries"]!.AsArray().Select(d => d!.AsObject())];

    /// <summary>What came, as subject, short type and the event's detail.</summary>
    public static string[] Received(this HookServer receiver) => [.. receiver.Requests.Select(static r =>
    {
        var message = JsonNode.Parse(r.Body)!;
        return string.Create(CultureInfo.InvariantCulture, $"{message["subject"]} {message["data"]!["event"]!["detail"]}");
    })];

    public static string[] Ids(this HookServer receiver) => [.. receiver.Requests.Select(static r => r.Headers["webhook-id"])];
}
