using Keylime.Functions.Storage;
using Keylime.Functions.Telemetry;

namespace Keylime.Functions.Notifications;

/// <summary>What every receiver's deliveries need, and the bound over all of them.</summary>
internal sealed class ReceiverMaker(IOutbox outbox, IEventStore events, Courier courier, WebhookChanges changes, Instruments instruments, TimeProvider clock, ILogger<Receiver> log) : IDisposable
{
    private const int MostAtOnce = 64;

    private readonly SemaphoreSlim _places = new(MostAtOnce);

    public Receiver Make() => new(outbox, events, courier, changes, instruments, clock, log, _places);

    public void Dispose() => _places.Dispose();
}
