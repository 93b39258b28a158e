using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Serialization;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Storage;

/// <summary>Something that an operator would ask about later. Its key follows from what happened, so that saying it twice stores it once.</summary>
/// <param name="Subject">A node's id, <c>policy:NAME</c>, <c>webhook:NAME</c>, <c>payload:NAME</c>, or <c>service:</c>.</param>
/// <param name="Key">Newest first, unique for the subject.</param>
internal sealed record EventRecord([property: JsonPropertyName("node")] string Subject, string Key, DateTimeOffset At, string Type, string Detail)
{
    public const int CurrentSchema = 1;

    /// <summary>The subject of what concerns no node and no policy.</summary>
    public const string Service = "service:";

    /// <summary>Digits of the time in front of every key.</summary>
    public const int TimeDigits = 19;

    private const int MaxDetail = 1024;

    /// <summary>The start of a policy's subject.</summary>
    public const string PolicyPrefix = "policy:";

    /// <summary>The start of a webhook's subject.</summary>
    public const string WebhookPrefix = "webhook:";

    public int Schema { get; init; } = CurrentSchema;

    /// <summary>Of a failure: the code of its first finding.</summary>
    public string? Finding { get; init; }

    /// <summary>What no other event of the whole service is called. No dot is in it: signatures of Standard Webhooks have dots around it.</summary>
    public string GlobalId => "evt_" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{Subject}\0{Key}")).AsSpan(0, 16));

    public EventMessage Message => new(Key, At, Type, Subject, Detail) { Severity = EventTypes.SeverityOf(Type) };

    /// <summary>An event of a proven caller or of an operator.</summary>
    /// <param name="cause">What it came of, where that has a number or a name: it makes the key the same whenever the event is told.</param>
    public static EventRecord Of(string subject, DateTimeOffset at, string type, string detail, string cause = "0") => new(
        subject, $"{TimeKey(at)}-{type}-{cause}", at, type, detail.Length <= MaxDetail ? detail : detail[..MaxDetail]);

    public static EventRecord Of(AgentId node, DateTimeOffset at, string type, string detail, long cause = 0) =>
        Of(node.ToString(), at, type, detail, cause.ToString(CultureInfo.InvariantCulture));

    /// <summary>An event that strangers can cause: at most one a minute of its type, so that they cannot fill the table.</summary>
    public static EventRecord OncePerMinute(string subject, DateTimeOffset at, string type, string detail, string cause = "0") =>
        Of(subject, new DateTimeOffset(at.UtcTicks - at.UtcTicks % TimeSpan.TicksPerMinute, TimeSpan.Zero), type, detail, cause);

    public static EventRecord OncePerMinute(AgentId node, DateTimeOffset at, string type, string detail) => OncePerMinute(node.ToString(), at, type, detail);

    /// <summary>An event of a policy.</summary>
    public static EventRecord OfPolicy(string policy, DateTimeOffset at, string type, string detail) => Of(PolicyPrefix + policy, at, type, detail);

    /// <summary>An event of a payload.</summary>
    public static EventRecord OfPayload(string payload, DateTimeOffset at, string type, string detail, long version) =>
        Of("payload:" + payload, at, type, detail, version.ToString(CultureInfo.InvariantCulture));

    /// <summary>An event of a webhook.</summary>
    public static EventRecord OfWebhook(string webhook, DateTimeOffset at, string type, string detail, string cause = "0") => Of(WebhookPrefix + webhook, at, type, detail, cause);

    /// <summary>The time as the start of a key: later ones come first.</summary>
    public static string TimeKey(DateTimeOffset at) => (long.MaxValue - at.UtcTicks).ToString("d19", CultureInfo.InvariantCulture);
}
