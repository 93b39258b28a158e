using System.Collections.Concurrent;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Notifications;

/// <summary>Has somebody look at a channel: this process or another one, now or later.</summary>
internal sealed partial class Wakeups(DeliveryQueues queues, DeliverySignal signal, TimeProvider clock, ILogger<Wakeups> log)
{
    // What this process has put to come later, the earliest of each channel; so that many who find that it is not time yet put one message.
    private readonly ConcurrentDictionary<string, DateTimeOffset> _later = new();

    /// <summary>Now. If the queue does not answer, the repair finds the row later; whoever tells an event has told it all the same.</summary>
    public async Task WakeAsync(string channel, CancellationToken cancel)
    {
        try
        {
            await queues.Work.PutAsync(new DeliveryWork(DeliveryWork.CurrentVersion, channel).Write(), TimeSpan.Zero, cancel);
        }
        catch (StorageUnavailableException e)
        {
            LogNotPut(log, e.Message);
            return;
        }

        signal.Raise();
    }

    /// <summary>At a moment that may have gone by.</summary>
    /// <exception cref="StorageUnavailableException">The queue does not answer.</exception>
    public async Task WakeAtAsync(string channel, DateTimeOffset due, CancellationToken cancel)
    {
        var now = clock.GetUtcNow();
        if (due <= now)
        {
            await queues.Work.PutAsync(new DeliveryWork(DeliveryWork.CurrentVersion, channel).Write(), TimeSpan.Zero, cancel);
            signal.Raise();
            return;
        }

        if (_later.TryGetValue(channel, out var there) && there > now && there <= due)
            return;
        _later[channel] = due;
        try
        {
            await queues.Work.PutAsync(new DeliveryWork(DeliveryWork.CurrentVersion, channel) { Due = due }.Write(), due - now, cancel);
        }
        catch
        {
            _later.TryRemove(KeyValuePair.Create(channel, due));
            throw;
        }
    }

    /// <summary>That a message has come: the next one that is to come later is put again.</summary>
    public void Came(DeliveryWork work)
    {
        if (work.Due is { } due)
            _later.TryRemove(KeyValuePair.Create(work.Channel, due));
    }

    public void Forget(string channel) => _later.TryRemove(channel, out _);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The queue of deliveries does not answer, and the timer has to find what waits: {Why}")]
    private static partial void LogNotPut(ILogger log, string why);
}
