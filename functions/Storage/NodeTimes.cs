namespace Keylime.Functions.Storage;

/// <summary>Of a node, what its state follows from. Stores have it beside the row, in columns, so that a fleet is counted without its rows.</summary>
/// <param name="Passed">Whether its last verdict is a pass that counts; <see langword="null"/> where there is none, or nobody has admitted it.</param>
/// <param name="JudgedAt">When the last verdict was given.</param>
/// <param name="LateAt">As stored, whatever gaps there are.</param>
/// <param name="SilentAt">As stored.</param>
internal readonly record struct NodeTimes(bool Retired, bool? Passed, DateTimeOffset? JudgedAt, DateTimeOffset? LateAt, DateTimeOffset? SilentAt)
{
    public static NodeTimes Of(Node node) => new(
        node.RetiredAt is not null,
        node switch { { Waiting: not null } or { Last: null } => null, { IsFailed: true } => false, _ => true },
        node.Last?.At, node.LateAt, node.SilentAt);

    /// <summary>From the columns of a store: 0 for no verdict, 1 for a pass and 2 for a fail, and the end of time for no time.</summary>
    public static NodeTimes Of(bool retired, long verdict, long lateAt, long silentAt)
    {
        var (late, silent) = (TimeOf(lateAt), TimeOf(silentAt));
        return new(retired, verdict switch { 0 => null, 1 => true, _ => false }, late is null || silent is null ? null : Nodes.NodeStates.JudgedAt(late.Value, silent.Value), late, silent);
    }

    private static DateTimeOffset? TimeOf(long ticks) => ticks is > 0 and < long.MaxValue ? new DateTimeOffset(ticks, TimeSpan.Zero) : null;
}
