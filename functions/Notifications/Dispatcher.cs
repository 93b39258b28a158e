using System.Collections.Concurrent;
using Keylime.Functions.Storage;
using Keylime.Functions.Telemetry;

namespace Keylime.Functions.Notifications;

/// <summary>Has channels looked after. Each receiver has its own way, so that a slow one is in no other's.</summary>
internal sealed partial class Dispatcher(Webhooks webhooks, ReceiverMaker maker, Wakeups wakeups, ILogger<Dispatcher> log)
{
    private readonly ConcurrentDictionary<string, Receiver> _receivers = new();

    /// <summary>
    /// Does what a message says. Where a round stands behind the one that runs in this process already, that one will see all that this one would: then there is nothing to do, and its own message
    /// comes again if the process dies.
    /// </summary>
    public Task DoAsync(DeliveryWork work, CancellationToken cancel)
    {
        wakeups.Came(work);
        return _receivers.TryGetValue(work.Channel, out var receiver) && receiver.Stands ? Task.CompletedTask : RunAsync(work.Channel, cancel);
    }

    /// <summary>Delivers what is due in a channel, or as much of it as fits one round, and asks to be woken for the rest. A channel that no webhook has is nothing to do.</summary>
    public async Task RunAsync(string channel, CancellationToken cancel)
    {
        using var span = Traces.Run("deliveries");
        if (await FindAsync(channel, cancel) is not { } webhook)
        {
            _receivers.TryRemove(channel, out _);
            wakeups.Forget(channel);
            LogGone(log, channel);
            return;
        }

        if (await _receivers.GetOrAdd(channel, static (_, maker) => maker.Make(), maker).RunAsync(webhook, cancel) is { } next)
            await wakeups.WakeAtAsync(channel, next, cancel);
    }

    private async Task<Webhook?> FindAsync(string channel, CancellationToken cancel)
    {
        if ((await webhooks.AllAsync(cancel)).FirstOrDefault(w => w.Channel == channel) is { } known)
            return known;
        webhooks.Forget(); // it may have been made a moment ago, by another instance
        return (await webhooks.AllAsync(cancel)).FirstOrDefault(w => w.Channel == channel);
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Nothing is delivered by the channel {Channel}: no webhook has it any more")]
    private static partial void LogGone(ILogger log, string channel);
}
