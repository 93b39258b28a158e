using System.Collections.Concurrent;

namespace Keylime.Functions.Storage;

/// <summary>
/// Rows that could not be read, on their way to the log at once and to the events soon: the store that met one may be the store of events.
/// </summary>
internal sealed partial class UnreadableRows(TimeProvider clock, ILogger<UnreadableRows> log)
{
    private const int MaxWaiting = 1000;

    private readonly ConcurrentDictionary<(string Kind, string Key), string> _waiting = new();

    public void Report(string kind, string key, string why)
    {
        LogUnreadable(log, kind, key, why);
        if (_waiting.Count < MaxWaiting)
            _waiting[(kind, key)] = why;
    }

    /// <summary>Tells what waits, once a day for each row, however often it is met.</summary>
    public async Task TellAsync(IEventStore events, CancellationToken cancel)
    {
        foreach (var (row, why) in _waiting.ToArray())
        {
            var now = clock.GetUtcNow();
            var day = new DateTimeOffset(now.UtcTicks - now.UtcTicks % TimeSpan.TicksPerDay, TimeSpan.Zero);
            await events.AddAsync(
                EventRecord.Of(EventRecord.Service, day, EventTypes.RowUnreadable, $"The stored {row.Kind} '{row.Key}' cannot be read and is left out: {why}", CauseOf(row)), cancel);
            _waiting.TryRemove(row, out _);
        }
    }

    private static string CauseOf((string Kind, string Key) row) =>
        Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes($"{row.Kind} {row.Key}")).AsSpan(0, 8));

    [LoggerMessage(Level = LogLevel.Error, Message = "The stored {Kind} '{Key}' cannot be read and is left out: {Why}")]
    private static partial void LogUnreadable(ILogger log, string kind, string key, string why);
}
