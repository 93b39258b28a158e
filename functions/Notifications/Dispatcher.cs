using System.Collections.Concurrent;
using Keylime.Functions.Hosting;
using Keylime.Functions.Telemetry;

namespace Keylime.Functions.Notifications;

/// <summary>Looks after the outbox. Each receiver has its own way, so that a slow one is in no other's.</summary>
internal sealed partial class Dispatcher(Webhooks webhooks, ReceiverMaker maker, ILogger<Dispatcher> log)
{
    private readonly ConcurrentDictionary<string, Receiver> _receivers = new();

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapTrigger<Dispatcher>("/trg-deliveries", "The timer's: deliver what waits for webhooks.", static (dispatcher, cancel) => dispatcher.RunAsync(cancel));

    /// <summary>Delivers all that is due, and waits until that is done.</summary>
    public async Task RunAsync(CancellationToken cancel)
    {
        using var span = Traces.Run("deliveries");
        var all = await webhooks.AllAsync(cancel);
        await Task.WhenAll(all.Select(webhook => Of(webhook.Channel).RunAsync(webhook, cancel)));
    }

    /// <summary>Sets all receivers to work, and waits for none.</summary>
    public async Task StartAsync(CancellationToken cancel)
    {
        var all = await webhooks.AllAsync(cancel);
        foreach (var webhook in all)
        {
            if (Of(webhook.Channel).Start(webhook, cancel) is { } work)
                _ = WatchAsync(work, webhook.Name);
        }

        foreach (var gone in _receivers.Keys.Except(all.Select(static w => w.Channel)))
            _receivers.TryRemove(gone, out _);
    }

    private async Task WatchAsync(Task work, string name)
    {
        try
        {
            await work;
        }
        catch (OperationCanceledException)
        {
            // the service ends
        }
#pragma warning disable CA1031 // Nobody waits for this task: the next round tries again.
        catch (Exception e)
#pragma warning restore CA1031
        {
            LogFailed(log, e, name);
        }
    }

    private Receiver Of(string channel) => _receivers.GetOrAdd(channel, static (_, maker) => maker.Make(), maker);

    [LoggerMessage(Level = LogLevel.Error, Message = "Delivering to {Webhook} failed; the next round tries again")]
    private static partial void LogFailed(ILogger log, Exception e, string webhook);
}
