using Keylime.Functions.Storage;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Nodes;

/// <summary>Where a node stands, computed from stored times whenever somebody asks: silence needs no timer to be seen.</summary>
internal static class NodeStates
{
    private const int LateIntervals = 2;
    private const int SilentIntervals = 5;

    public static DateTimeOffset LateAt(DateTimeOffset lastVerdict, int intervalSeconds) => lastVerdict.AddSeconds((long)LateIntervals * intervalSeconds);

    public static DateTimeOffset SilentAt(DateTimeOffset lastVerdict, int intervalSeconds) => lastVerdict.AddSeconds((long)SilentIntervals * intervalSeconds);

    /// <summary>The same rules as the store's filter by state.</summary>
    public static NodeState Of(Node node, DateTimeOffset now) => node switch
    {
        { RetiredAt: not null } => NodeState.Retired,
        { Waiting: not null } or { Last: null } => NodeState.Pending,
        { Last.Pass: false } => NodeState.Failed, // however long ago: silence does not heal
        _ when node.SilentAt <= now => NodeState.Silent,
        _ when node.LateAt <= now => NodeState.Late,
        _ => NodeState.Trusted,
    };

    public static string Reason(Node node, DateTimeOffset now) => Of(node, now) switch
    {
        NodeState.Retired => $"Retired by an operator at {node.RetiredAt:u}.",
        NodeState.Pending => node.Waiting ?? "Enrolled, and not attested yet.",
        NodeState.Failed => node.Last!.Reason,
        NodeState.Silent => $"No evidence since {node.Last!.At:u}: nothing is known of it now.",
        NodeState.Late => $"Its evidence was due at {NextExpectedAt(node):u}.",
        NodeState.Trusted => node.Last!.Reason,
        _ => throw new System.Diagnostics.UnreachableException(),
    };

    public static DateTimeOffset? NextExpectedAt(Node node) => node.RetiredAt is null ? node.Last?.At.AddSeconds(node.IntervalSeconds) : null;
}
