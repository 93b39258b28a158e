using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Notifications;

/// <summary>An event as its receivers get it: the same bytes each time.</summary>
internal static class WebhookBody
{
    private const string TypePrefix = "dev.keylime.";

    /// <param name="source">Who tells, see <see cref="CloudEvent.Source"/>.</param>
    public static byte[] Write(EventRecord happened, string source)
    {
        var revocation = RevocationOf(happened);
        var message = new CloudEvent(happened.GlobalId, source, TypePrefix + happened.Type, happened.Subject, happened.At, new WebhookData(happened.Message) { Revocation = revocation })
        {
            Msg = revocation is null ? null : JsonSerializer.Serialize(revocation, ApiJson.Default.RevocationMessage),
            Signature = revocation is null ? null : "",
        };
        return JsonSerializer.SerializeToUtf8Bytes(message, ApiJson.Default.CloudEvent);
    }

    /// <summary>What Keylime tells of agents that it polls: evidence that failed, and none that came.</summary>
    public static RevocationMessage? RevocationOf(EventRecord happened) => happened.Type switch
    {
        EventTypes.NodeFailed => Revocation(happened, "revocation", happened.Finding ?? "internal.unknown"),
        EventTypes.NodeSilent => Revocation(happened, "comm_error", "internal.verifier.not_reachable"),
        _ => null,
    };

    private static RevocationMessage Revocation(EventRecord happened, string type, string eventId) => new(
        type, happened.Subject, Time(happened.At), eventId, "emergency", new JsonObject { ["message"] = happened.Detail }.ToJsonString());

    // asctime of C, as Keylime's Python writes times: a day of one digit has a space before it. Ours are always UTC.
    private static string Time(DateTimeOffset at) => string.Create(CultureInfo.InvariantCulture, $"{at.UtcDateTime:ddd MMM} {at.UtcDateTime.Day,2} {at.UtcDateTime:HH:mm:ss yyyy}");
}
