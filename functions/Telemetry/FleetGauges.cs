using System.Diagnostics.Metrics;
using Keylime.Functions.Hosting;
using Keylime.Functions.Verifier;

namespace Keylime.Functions.Telemetry;

/// <summary>
/// What is known of the whole fleet, when somebody asks: from memory, and never from a store. What this instance does not know it does not report; a gauge that is missing is not one that is zero.
/// </summary>
internal sealed class FleetGauges
{
    private readonly FleetCount _fleet;
    private readonly Heartbeat _heartbeat;
    private readonly TimeProvider _clock;
    private readonly bool _sweepsHere;

    public FleetGauges(Instruments instruments, FleetCount fleet, Heartbeat heartbeat, Retention retention, TimeProvider clock, ServiceOptions options)
    {
        (_fleet, _heartbeat, _clock, _sweepsHere) = (fleet, heartbeat, clock, options.HandlerPort is null);
        var meter = instruments.Meter;
        meter.CreateObservableGauge("keylime.nodes", Nodes, "{node}", "Machines by their state, of the whole fleet.");
        meter.CreateObservableGauge("keylime.nodes.oldest_proof", () => Age(_fleet.Current?.OldestProof), "s", "Age of the last evidence of the machine that has not attested for longest.");
        meter.CreateObservableGauge("keylime.outbox.deliveries", Waiting, "{delivery}", "Events that wait for webhooks.");
        meter.CreateObservableGauge("keylime.outbox.oldest", () => Age(_fleet.Current?.OldestDelivery), "s", "Age of the oldest event that waits for a webhook.");
        meter.CreateObservableGauge("keylime.sweep.lag", () => Age(ToldTo()), "s", "Since the moment up to which silence is told.");
        meter.CreateObservableGauge("keylime.retention.lag", () => Age(retention.DoneTo), "s", "Since the moment up to which all that had expired is deleted.");
    }

    private IEnumerable<Measurement<long>> Nodes() =>
        _fleet.Current is { } fleet ? fleet.Nodes.Select(static n => new Measurement<long>(n.Value, new KeyValuePair<string, object?>("keylime.node.state", n.Key))) : [];

    private IEnumerable<Measurement<long>> Waiting() => _fleet.Current is { } fleet ? [new Measurement<long>(fleet.Deliveries)] : [];

    // Where the host's timer sweeps, an instance knows of it only as long as it asks for states.
    private DateTimeOffset? ToldTo() =>
        _heartbeat.LastRead is { State.ToldTo: var told, ReadAt: var read } && told > DateTimeOffset.MinValue && (_sweepsHere || _clock.GetUtcNow() - read <= _heartbeat.Tolerance) ? told : null;

    private IEnumerable<Measurement<double>> Age(DateTimeOffset? since) =>
        since is { } time ? [new Measurement<double>(Math.Max(0, (_clock.GetUtcNow() - time).TotalSeconds))] : [];
}
