using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;

namespace Keylime.Functions.Tests;

/// <summary>What one service measures, from now on: of several in this process, no other's.</summary>
internal sealed class MeterReadings : IDisposable
{
    private readonly MeterListener _listener = new();
    private readonly Lock _gate = new();
    private readonly Dictionary<string, double> _values = [];
    private readonly HashSet<string> _names = [];

    public MeterReadings(TestService service)
    {
        var own = service.Services.GetRequiredService<IMeterFactory>();
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (ReferenceEquals(instrument.Meter.Scope, own) && instrument.Meter.Name == Telemetry.Traces.Name)
                listener.EnableMeasurementEvents(instrument);
        };
        _listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Take(instrument, value, tags));
        _listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Take(instrument, value, tags));
        _listener.Start();
    }

    /// <summary>Everything that was seen: sums of counters, how often a histogram was told, the last of a gauge.</summary>
    public IReadOnlyDictionary<string, double> All
    {
        get
        {
            lock (_gate)
            {
                foreach (var gauge in _names)
                {
                    foreach (var key in _values.Keys.Where(k => k == gauge || k.StartsWith(gauge + "{", StringComparison.Ordinal)).ToArray())
                        _values.Remove(key); // what a gauge does not say any more is gone
                }
            }

            _listener.RecordObservableInstruments();
            lock (_gate)
                return new Dictionary<string, double>(_values);
        }
    }

    /// <param name="key"><c>name</c>, or <c>name{value,value}</c> with the values of its attributes.</param>
    public double this[string key] => All.GetValueOrDefault(key, double.NaN);

    public void Dispose() => _listener.Dispose();

    private void Take(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        var key = tags.Length == 0 ? instrument.Name : $"{instrument.Name}{{{string.Join(',', tags.ToArray().Select(static t => t.Value))}}}";
        lock (_gate)
        {
            if (instrument.IsObservable)
                _names.Add(instrument.Name);
            _values[key] = instrument.IsObservable ? value : _values.GetValueOrDefault(key) + (instrument is Histogram<double> ? 1 : value);
        }
    }
}
