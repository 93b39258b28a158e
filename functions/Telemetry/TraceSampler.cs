using System.Diagnostics;
using OpenTelemetry.Trace;

namespace Keylime.Functions.Telemetry;

/// <summary>
/// Keeps one trace in so many, by chance. What is a part of a trace here goes as its beginning went; what a caller says of its own trace, and the id that it chose, count for nothing: whoever
/// reaches the service could have it record, and pay for, as much as he likes.
/// </summary>
internal sealed class TraceSampler : Sampler
{
    private readonly double _ratio;

    // As samplers of Azure Monitor write down, in percent, of how many one is kept.
    private readonly KeyValuePair<string, object>[] _kept;

    public TraceSampler(double ratio)
    {
        _ratio = ratio;
        _kept = [KeyValuePair.Create("microsoft.sample_rate", (object)(100 * ratio))];
        Description = nameof(TraceSampler);
    }

    public override SamplingResult ShouldSample(in SamplingParameters samplingParameters)
    {
        var parent = samplingParameters.ParentContext;
        var keep = parent.TraceId != default && !parent.IsRemote
            ? parent.TraceFlags.HasFlag(ActivityTraceFlags.Recorded)
            : Random.Shared.NextDouble() < _ratio;
        return keep ? new SamplingResult(SamplingDecision.RecordAndSample, _kept) : new SamplingResult(SamplingDecision.Drop);
    }
}
