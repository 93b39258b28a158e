using Keylime.Functions.Hosting;

namespace Keylime.Functions.Notifications;

/// <summary>Has deliveries made: at once when something was put into the outbox here, and every few seconds for what is due again or came from elsewhere.</summary>
internal sealed partial class DeliveryLoop(Dispatcher dispatcher, DeliverySignal signal, TimeProvider clock, ServiceOptions options, ILogger<DeliveryLoop> log) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            await signal.WaitAsync(options.HandlerPort is null ? Interval : Timeout.InfiniteTimeSpan, clock, stoppingToken); // there the host's timer calls
            try
            {
                await dispatcher.StartAsync(stoppingToken);
            }
#pragma warning disable CA1031 // The outermost loop: what one round met must not be the end of all.
            catch (Exception e) when (e is not OperationCanceledException)
#pragma warning restore CA1031
            {
                LogFailed(log, e);
            }
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "A round of deliveries failed; the next one looks again")]
    private static partial void LogFailed(ILogger log, Exception e);
}
