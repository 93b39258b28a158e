using System.Collections.Frozen;
using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Access;

/// <summary>
/// The groups of nodes that a caller may have to do with, or all there is. What is of no group belongs to nobody whose role is for groups: a policy of none, which all share, may be read and used,
/// and not changed.
/// </summary>
internal sealed class CallerScope
{
    private readonly FrozenSet<string>? _groups;

    private CallerScope(FrozenSet<string>? groups) => _groups = groups;

    /// <summary>The whole service.</summary>
    public static CallerScope All { get; } = new(null);

    /// <summary>Of who has shown no role.</summary>
    public static CallerScope Nothing { get; } = new(FrozenSet<string>.Empty);

    public bool IsAll => _groups is null;

    public static CallerScope Of(IEnumerable<string> groups) => new(groups.ToFrozenSet(StringComparer.Ordinal));

    public bool Covers(string? group) => _groups is null || group is not null && _groups.Contains(group);

    public bool Covers(Node node) => Covers(node.Group);

    /// <summary>Whether a policy may be read, and named for nodes.</summary>
    public bool MayUse(PolicyRecord policy) => policy.Group is null || Covers(policy.Group);

    public bool MayChange(PolicyRecord policy) => Covers(policy.Group);

    public override string ToString() => _groups is null ? "all" : string.Join(", ", _groups.Order(StringComparer.Ordinal));
}

internal static class CallerScopes
{
    /// <summary>How far the caller's roles go on this route. Who did not come by a role has none.</summary>
    public static CallerScope Scope(this HttpContext context) => context.Features.Get<CallerScope>() ?? CallerScope.Nothing;

    /// <summary>The node, if the caller may have to do with it.</summary>
    public static async Task<Stored<Node>?> FindAsync(this INodeStore nodes, AgentId id, CallerScope scope, CancellationToken cancel) =>
        await nodes.FindAsync(id, cancel) is { } stored && scope.Covers(stored.Value) ? stored : null;

    /// <summary>The policy, if the caller may read and use it.</summary>
    public static async Task<Stored<PolicyRecord>?> FindAsync(this IRecordStore<PolicyRecord> policies, string name, CallerScope scope, CancellationToken cancel) =>
        await policies.FindAsync(name, cancel) is { } stored && scope.MayUse(stored.Value) ? stored : null;
}
