using System.Globalization;
using Keylime.Protocol;

namespace Keylime.Functions.Storage;

/// <summary>Something that an operator should know of. Its key follows from what happened, so that saying it twice stores it once.</summary>
/// <param name="Key">Newest first, unique for the node.</param>
internal sealed record NodeEvent(AgentId Node, string Key, DateTimeOffset At, string Type, string Detail)
{
    public const int CurrentSchema = 1;

    private const int MaxDetail = 1024;

    public int Schema { get; init; } = CurrentSchema;

    /// <summary>An event of a proven caller or of an operator.</summary>
    /// <param name="cause">What it came of, where that has a number: it makes the key the same whenever the event is told.</param>
    public static NodeEvent Of(AgentId node, DateTimeOffset at, string type, string detail, long cause = 0)
    {
        var newestFirst = long.MaxValue - at.UtcTicks;
        return new NodeEvent(node, string.Create(CultureInfo.InvariantCulture, $"{newestFirst:d19}-{type}-{cause}"), at, type,
            detail.Length <= MaxDetail ? detail : detail[..MaxDetail]);
    }

    /// <summary>An event that strangers can cause: at most one a minute of its type, so that they cannot fill the table.</summary>
    public static NodeEvent OncePerMinute(AgentId node, DateTimeOffset at, string type, string detail) =>
        Of(node, new DateTimeOffset(at.UtcTicks - at.UtcTicks % TimeSpan.TicksPerMinute, TimeSpan.Zero), type, detail);
}
