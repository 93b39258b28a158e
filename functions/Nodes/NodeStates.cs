using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Keylime.Functions.Storage;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Nodes;

/// <summary>Where a node stands, computed from stored times whenever somebody asks: silence needs no timer to be seen.</summary>
internal static class NodeStates
{
    private const int LateIntervals = 2;
    private const int SilentIntervals = 5;
    private const int JitterPart = 20; // of the interval, to both sides

    /// <summary>The longest time from a verdict, or from the end of a gap, to silence: that of the longest interval.</summary>
    public static TimeSpan LongestSilence { get; } = TimeSpan.FromSeconds(SilentIntervals * (long)EnrolNodes.MaxInterval);

    public static DateTimeOffset LateAt(DateTimeOffset lastVerdict, int intervalSeconds) => lastVerdict.AddSeconds((long)LateIntervals * intervalSeconds);

    public static DateTimeOffset SilentAt(DateTimeOffset lastVerdict, int intervalSeconds) => lastVerdict.AddSeconds((long)SilentIntervals * intervalSeconds);

    /// <summary>When the last verdict was given, of the two times that were stored with it.</summary>
    public static DateTimeOffset JudgedAt(DateTimeOffset late, DateTimeOffset silent) => late - (silent - late) * LateIntervals / (SilentIntervals - LateIntervals);

    public static DateTimeOffset? LateAt(Node node, Moment moment) => Shifted(NodeTimes.Of(node), node.LateAt, moment);

    public static DateTimeOffset? SilentAt(Node node, Moment moment) => Shifted(NodeTimes.Of(node), node.SilentAt, moment);

    /// <summary>The stores filter by the same rules, and ask here at last.</summary>
    public static NodeState Of(Node node, Moment moment) => Of(NodeTimes.Of(node), moment);

    public static NodeState Of(NodeTimes node, Moment moment) => node switch
    {
        { Retired: true } => NodeState.Retired,
        { Passed: null } => NodeState.Pending,
        { Passed: false } => NodeState.Failed, // however long ago: silence does not heal
        _ when Shifted(node, node.SilentAt, moment) <= moment.Now => NodeState.Silent,
        _ when Shifted(node, node.LateAt, moment) <= moment.Now => NodeState.Late,
        _ => NodeState.Trusted,
    };

    public static string Reason(Node node, Moment moment) => Of(node, moment) switch
    {
        NodeState.Retired => $"Retired by an operator at {node.RetiredAt:u}.",
        NodeState.Pending => node.Waiting ?? "Enrolled, and not attested yet.",
        NodeState.Failed => node.Unhealed is { } failure ? Recoveries.Describe(node.Id, node.Recovery, failure) : node.Last!.Reason,
        NodeState.Silent => $"No evidence since {node.Last!.At:u}: nothing is known of it now.",
        NodeState.Late => $"Its evidence was due at {NextExpectedAt(node):u}.",
        NodeState.Trusted => node.Last!.Reason,
        _ => throw new System.Diagnostics.UnreachableException(),
    };

    /// <summary>When it was told to come again.</summary>
    public static DateTimeOffset? NextExpectedAt(Node node) =>
        node is { RetiredAt: null, Last: { } last } ? last.At.AddSeconds(SecondsToNext(node.Id, last.Attestation, node.IntervalSeconds)) : null;

    /// <summary>
    /// Seconds from a verdict to the next attestation: the interval, and a twentieth of it more or less, so that nodes that came at once do not come at once
    /// for ever. The same whenever it is asked.
    /// </summary>
    public static int SecondsToNext(Protocol.AgentId node, long attestation, int intervalSeconds)
    {
        var most = intervalSeconds / JitterPart;
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes(string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{node} {attestation}")), hash);
        return Math.Max(1, intervalSeconds - most + (int)(BinaryPrimitives.ReadUInt32BigEndian(hash) % (uint)(2 * most + 1)));
    }

    // A node that was to come while nobody could hear it has, from then on, the time that it has from a verdict on. What was over before stays over.
    private static DateTimeOffset? Shifted(NodeTimes node, DateTimeOffset? stored, Moment moment)
    {
        if (stored is not { } deadline || node is not { JudgedAt: { } judged, LateAt: { } late })
            return stored;
        var grace = deadline - judged;
        var due = judged + (late - judged) / LateIntervals;
        foreach (var gap in moment.Gaps)
        {
            if (gap.Down && judged < gap.Until && due <= gap.Until && deadline > gap.From && gap.Until + grace > deadline)
                (deadline, due) = (gap.Until + grace, gap.Until + (late - judged) / LateIntervals);
        }

        return deadline;
    }
}
