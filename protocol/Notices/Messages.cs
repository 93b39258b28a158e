using System.Text.Json.Serialization;
using Keylime.Protocol.Api;

namespace Keylime.Protocol.Notices;

/// <summary>What a machine is told of another one. It reaches a local action on standard input exactly as it was signed: JSON in UTF-8.</summary>
/// <param name="Number">From 1, without a gap, and no number twice.</param>
/// <param name="Id">Of the event: what webhooks are told of it has the same.</param>
/// <param name="Type">One of <see cref="NoticeTypes"/>; of a newer service perhaps another.</param>
/// <param name="Node">Whom it is about.</param>
/// <param name="At">When it happened.</param>
public sealed record Notice(long Number, string Id, string Type, string Node, DateTimeOffset At)
{
    /// <summary>Of a machine that failed: Keylime's revocation. Its context is empty: what was found on a machine is for operators, and not for every other machine.</summary>
    public RevocationMessage? Revocation { get; init; }
}

/// <summary>What machines are told of each other. Silence is not in it: nothing is known of a silent machine, and a broken line must not turn a fleet against itself.</summary>
public static class NoticeTypes
{
    public const string Failed = "node.failed";
    public const string Recovered = "node.recovered";
    public const string Retired = "node.retired";
    public const string Reactivated = "node.reactivated";

    public static IReadOnlyList<string> All { get; } = [Failed, Recovered, Retired, Reactivated];
}

/// <summary>Notices for an agent, in the order of their numbers. What signed nothing, the numbers beside them, is believed only where it cannot hide one.</summary>
/// <param name="Notices">See <see cref="SignedNotice"/>; <see cref="MostInOne"/> at most. If there are that many, more may wait.</param>
/// <param name="Next">Behind the last of these: where to ask on.</param>
public sealed record NoticeBatch(IReadOnlyList<string> Notices, long Next)
{
    public const int MostInOne = 16;

    /// <summary>What an agent that knows no number yet says in place of one: it starts where the others are.</summary>
    public const long FromNowOn = -1;

    /// <summary>Notices behind the number that was asked with are not there any more, or never were: the service keeps the newest 10,000, or was set back.</summary>
    public bool Lost { get; init; }
}

/// <summary>What an agent has to know of a notice to deal with it; the rest is for the action.</summary>
public readonly record struct NoticeHead(long Number, string Type, string Node);

/// <summary>A notice as it is signed.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    AllowDuplicateProperties = false,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(Notice))]
public sealed partial class NoticeJson : JsonSerializerContext;

/// <summary>What an agent reads of notices: apart from the above, which only the service needs.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    AllowDuplicateProperties = false,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(NoticeBatch))]
public sealed partial class NoticeBatchJson : JsonSerializerContext;
