namespace Keylime.Functions.Storage;

/// <summary>The events: added once, never changed, and deleted by retention alone. Partition: the subject; row: the event's key, newest first; and once more by time alone.</summary>
internal interface IEventStore
{
    /// <summary>Adds the event, unless one of its key is there: telling it twice does no harm.</summary>
    Task AddAsync(EventRecord happened, CancellationToken cancel);

    /// <summary>Whether the event is there, and so all that goes with it.</summary>
    Task<bool> IsToldAsync(EventRecord happened, CancellationToken cancel);

    /// <summary>A page, newest first. A row that cannot be read is reported and left out.</summary>
    Task<Page<EventRecord>> ListAsync(EventQuery query, Continuation? after, int limit, CancellationToken cancel);

    /// <summary>Deletes events that are older, of about <paramref name="limit"/> at most.</summary>
    /// <returns>How many.</returns>
    Task<int> DeleteBeforeAsync(DateTimeOffset before, int limit, CancellationToken cancel);
}

/// <summary>Which events are wanted. A member left out does not matter.</summary>
/// <param name="Subject">See <see cref="EventRecord.Subject"/>.</param>
/// <param name="Types">None means all.</param>
/// <param name="Since">This moment and later.</param>
/// <param name="Until">Before this moment.</param>
internal sealed record EventQuery(string? Subject = null, IReadOnlyList<string>? Types = null, DateTimeOffset? Since = null, DateTimeOffset? Until = null)
{
    /// <summary>Keys are behind this one: nothing newer than <see cref="Until"/>.</summary>
    public string After => Until is { } until ? EventRecord.TimeKey(until) + "~" : "";

    /// <summary>Keys are before this one: nothing older than <see cref="Since"/>.</summary>
    public string Before => Since is { } since ? EventRecord.TimeKey(since) + "~" : "~";
}
