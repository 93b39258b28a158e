namespace Keylime.Testing;

/// <summary>No pause between retries.</summary>
public sealed class ImpatientTime : TimeProvider
{
    private ImpatientTime()
    {
    }

    public static ImpatientTime Instance { get; } = new();

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        base.CreateTimer(callback, state, dueTime > TimeSpan.Zero ? TimeSpan.Zero : dueTime, period);
}
