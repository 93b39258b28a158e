using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Notifications;

/// <summary>
/// Takes messages from the queue of deliveries and has them done, where no Functions host does that: a few at once, held for as long as they are worked on, given back where that failed, and put among the
/// poisoned ones when it failed too often. A process that dies gives back what it held after <see cref="Hidden"/>.
/// </summary>
internal sealed partial class DeliveryPump(
    DeliveryQueues queues, Dispatcher dispatcher, DeliverySignal signal, TimeProvider clock, ServiceOptions options, ILogger<DeliveryPump> log) : BackgroundService
{
    /// <summary>As host.json has it for the host: after so many tries a message is poisoned.</summary>
    public const int MaxTaken = 5;

    /// <summary>After a failure, and as host.json has it too.</summary>
    public static readonly TimeSpan Again = TimeSpan.FromSeconds(30);

    /// <summary>How long a message is hidden by taking it; whoever works on it longer hides it anew.</summary>
    public static readonly TimeSpan Hidden = TimeSpan.FromSeconds(30);

    private const int MostAtOnce = 16;

    private readonly SemaphoreSlim _places = new(MostAtOnce);

    // In an account each look costs an operation; other instances' messages are found by it alone.
    private TimeSpan Interval => options.UsesAzure ? TimeSpan.FromSeconds(2) : TimeSpan.FromSeconds(5);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (options.HostHandsOutWork)
            return;
        while (!stoppingToken.IsCancellationRequested)
        {
            var taken = 0;
            try
            {
                taken = await TakeAsync(stoppingToken);
            }
#pragma warning disable CA1031 // The outermost loop: what one look met must not be the end of all.
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
#pragma warning restore CA1031
            {
                LogNotTaken(log, e);
            }

            if (taken == 0)
                await signal.WaitAsync(Interval, clock, stoppingToken);
        }
    }

    /// <returns>How many messages are worked on now that were not before.</returns>
    private async Task<int> TakeAsync(CancellationToken stopping)
    {
        await _places.WaitAsync(stopping);
        _places.Release();
        var items = await queues.Work.TakeAsync(Math.Clamp(_places.CurrentCount, 1, MostAtOnce), Hidden, stopping); // this is the only one who takes places
        foreach (var item in items)
        {
            await _places.WaitAsync(stopping);
            _ = HoldAsync(item, stopping);
        }

        return items.Count;
    }

    private async Task HoldAsync(WorkItem item, CancellationToken stopping)
    {
        try
        {
            await DoAsync(item, stopping);
        }
        catch (OperationCanceledException)
        {
            // the service ends; the message comes again
        }
#pragma warning disable CA1031 // Nobody waits for this task: the message comes again.
        catch (Exception e)
#pragma warning restore CA1031
        {
            LogFailed(log, e);
        }
        finally
        {
            _places.Release();
        }
    }

    private async Task DoAsync(WorkItem item, CancellationToken stopping)
    {
        if (item.Taken > MaxTaken)
        {
            // Whoever took it last died with it.
            await BuryAsync(item, stopping);
            return;
        }

        if (!DeliveryWork.TryRead(item.Message.Span, out var work, out var why))
        {
            LogNotOurs(log, item.Id, why);
            await FailAsync(item, stopping);
            return;
        }

        using var done = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        var held = KeepAsync(item, done.Token);
        var isDone = false;
        try
        {
            await dispatcher.DoAsync(work, stopping);
            isDone = true;
        }
#pragma warning disable CA1031 // Whatever it met: it is tried again, and poisoned in the end.
        catch (Exception e) when (!stopping.IsCancellationRequested)
#pragma warning restore CA1031
        {
            LogFailed(log, e);
        }
        finally
        {
            await done.CancelAsync(); // whatever happened: nobody hides it any more
        }

        item = await held;
        if (isDone)
            await queues.Work.TryFinishAsync(item, stopping);
        else
            await FailAsync(item, stopping);
    }

    private async Task FailAsync(WorkItem item, CancellationToken cancel)
    {
        if (item.Taken >= MaxTaken)
            await BuryAsync(item, cancel);
        else
            await queues.Work.TryHideAsync(item, Again, cancel);
    }

    private async Task BuryAsync(WorkItem item, CancellationToken cancel)
    {
        await queues.Poison.PutAsync(item.Message, TimeSpan.Zero, cancel);
        await queues.Work.TryFinishAsync(item, cancel);
    }

    /// <summary>Hides a message again and again, until it is cancelled.</summary>
    /// <returns>The message as it is held then.</returns>
    private async Task<WorkItem> KeepAsync(WorkItem item, CancellationToken done)
    {
        while (true)
        {
            await Task.Delay(Hidden / 2, clock, done).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (done.IsCancellationRequested)
                return item;
            try
            {
                if (await queues.Work.TryHideAsync(item, Hidden, CancellationToken.None) is not { } held)
                    return item; // somebody else has it: nothing is lost by both doing it
                item = held;
            }
            catch (StorageUnavailableException)
            {
                // it may come to another one: nothing is lost by both doing it
            }
        }
    }

    public override void Dispose()
    {
        _places.Dispose();
        base.Dispose();
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "The queue of deliveries could not be looked into; the next look comes")]
    private static partial void LogNotTaken(ILogger log, Exception e);

    [LoggerMessage(Level = LogLevel.Error, Message = "A message of the queue of deliveries could not be worked on; it comes again")]
    private static partial void LogFailed(ILogger log, Exception e);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The message {Id} of the queue of deliveries is none of ours: {Why}")]
    private static partial void LogNotOurs(ILogger log, string id, string why);
}
