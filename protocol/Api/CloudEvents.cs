using System.Text.Json.Serialization;

namespace Keylime.Protocol.Api;

/// <summary>What a webhook's receiver gets: a CloudEvents 1.0 event in structured JSON (CloudEvents JSON format 1.0, section 3).</summary>
/// <param name="Id">The same whenever the event is sent: who has seen it may forget the message.</param>
/// <param name="Source">The service: its first name, or where it listens.</param>
/// <param name="Type"><c>dev.keylime.</c> and the event's own type.</param>
public sealed record CloudEvent(string Id, string Source, string Type, string Subject, DateTimeOffset Time, WebhookData Data)
{
    public string Specversion { get; init; } = "1.0";

    public string Datacontenttype { get; init; } = "application/json";

    /// <summary>Of revocations, the text that receivers of Keylime's own webhook read: <see cref="WebhookData.Revocation"/> as JSON. An extension attribute.</summary>
    public string? Msg { get; init; }

    /// <summary>Beside <see cref="Msg"/>, and empty as Keylime leaves it where no key was supplied: the request's headers have the signature.</summary>
    public string? Signature { get; init; }
}

/// <summary>The event itself.</summary>
public sealed record WebhookData(EventMessage Event)
{
    /// <summary>Of a node that failed or fell silent: Keylime's revocation.</summary>
    public RevocationMessage? Revocation { get; init; }
}

/// <summary>Keylime's revocation message, with its fields as Keylime names them.</summary>
/// <param name="Type"><c>revocation</c> for failed evidence, <c>comm_error</c> for none.</param>
public sealed record RevocationMessage(
    [property: JsonPropertyName("type")] string Type,
    [property: JsonPropertyName("agent_id")] string AgentId,
    [property: JsonPropertyName("event_time")] string EventTime,
    [property: JsonPropertyName("event_id")] string EventId,
    [property: JsonPropertyName("severity_label")] string SeverityLabel,
    [property: JsonPropertyName("context")] string Context)
{
    /// <summary>Empty: agents listen on no port, so the service knows none.</summary>
    [JsonPropertyName("ip")]
    public string Ip { get; init; } = "";

    /// <summary>0, see <see cref="Ip"/>.</summary>
    [JsonPropertyName("port")]
    public int Port { get; init; }

    [JsonPropertyName("tpm_policy")]
    public string TpmPolicy { get; init; } = "{}";

    [JsonPropertyName("meta_data")]
    public string MetaData { get; init; } = "{}";
}
