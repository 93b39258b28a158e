namespace Keylime.Functions.Storage;

/// <summary>How far a timer of the service has come. Every instance reads it, and whoever runs the timer replaces it conditionally.</summary>
internal sealed record TimerState
{
    public const int CurrentSchema = 1;

    public int Schema { get; init; } = CurrentSchema;

    public required string Name { get; init; }

    /// <summary>When it last ran.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>Of the sweep: whatever became overdue until then has been told.</summary>
    public DateTimeOffset ToldTo { get; init; }

    /// <summary>Of the sweep: when it did not run though it should have; oldest first.</summary>
    public IReadOnlyList<Gap> Gaps { get; init => field = value ?? []; } = [];

    /// <summary>Of a timer that does its work in parts: where the next part starts. Null at the beginning.</summary>
    public string? Cursor { get; init; }

    /// <summary>Of retention: the lap over the fleet that is not done yet.</summary>
    public Lap? Lap { get; init; }

    /// <summary>Of retention: when the last lap that is done began. Whatever had expired until then is deleted.</summary>
    public DateTimeOffset DoneTo { get; init; }

    /// <summary>Of the count of the fleet: what was counted last.</summary>
    public Fleet? Fleet { get; init; }
}

/// <summary>One way over the whole fleet, and what was done on it so far.</summary>
internal sealed record Lap(DateTimeOffset Began, long Nodes = 0, long Verdicts = 0, long Events = 0, long Deliveries = 0, long Tokens = 0)
{
    public long Deleted => Verdicts + Events + Deliveries + Tokens;
}

/// <summary>A time in which nothing swept the fleet.</summary>
/// <param name="Until">Earlier than <paramref name="From"/> where the clock was set back.</param>
/// <param name="Down">Nobody could have attested, as far as is known: nodes that were due get their grace anew.</param>
internal sealed record Gap(DateTimeOffset From, DateTimeOffset Until, bool Down);
