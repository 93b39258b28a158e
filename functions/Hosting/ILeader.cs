namespace Keylime.Functions.Hosting;

/// <summary>
/// Which of several processes runs the timers. Nothing depends on there being one alone: all that timers write is conditional and told under keys that follow from what happened, so two at once, or one that was
/// paused and does not know yet that another follows it, cost requests and change nothing.
/// </summary>
internal interface ILeader
{
    /// <summary>Cancelled when this process leads no more; <see langword="null"/> while it does not lead.</summary>
    CancellationToken? Term { get; }
}

/// <summary>Of a store that one process has for itself.</summary>
internal sealed class OnlyLeader : ILeader
{
    public CancellationToken? Term => CancellationToken.None;
}
