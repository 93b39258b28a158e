using System.Globalization;
using Keylime.Benchmarks.Processes;

namespace Keylime.Benchmarks.Load;

/// <summary>What a run of a fleet measured.</summary>
internal sealed record FleetFigures(FleetOptions Options, LoopResult Loop)
{
    /// <summary>The service's, when the time that counts began and ended; null for a service that runs elsewhere.</summary>
    public (ProcessFigures Before, ProcessFigures After)? Service { get; init; }

    public required (ProcessFigures Before, ProcessFigures After) Generator { get; init; }

    public required (long Sent, long Received, long Requests) Wire { get; init; }

    /// <summary>Requests to the store in that time, by kind; null where nothing counted them.</summary>
    public IReadOnlyDictionary<string, long>? Storage { get; init; }

    public required int Keys { get; init; }

    public double PerSecond => Loop.Passed / Loop.Length.TotalSeconds;

    /// <summary>Of the service, for an attestation.</summary>
    public double? CpuMilliseconds => Service is { } s ? (s.After.Cpu - s.Before.Cpu).TotalMilliseconds / Loop.Passed : null;

    /// <summary>Attestations for a second of the service's processor time: what one core would do if it did nothing else and never waited.</summary>
    public double? PerCpuSecond => 1000 / CpuMilliseconds;

    public double BytesSent => (double)Wire.Sent / Loop.Passed;

    public double BytesReceived => (double)Wire.Received / Loop.Passed;

    public void Print(TextWriter to)
    {
        Line("attestations", $"{PerSecond,10:N1} /s", $"{Options.PerSecond:N1}/s were due; {Loop.Passed:N0} passed in {Loop.Length.TotalSeconds:N1} s, {Loop.Unanswered:N0} of {Loop.Due:N0} had no verdict at the end");
        Line("time from due to verdict", $"{Loop.Percentile(0.5),10:N1} ms", $"median; 99 %: {Loop.Percentile(0.99):N1} ms, 99.9 %: {Loop.Percentile(0.999):N1} ms, the longest: {Loop.Percentile(1):N1} ms");
        if (Service is { } service)
        {
            Line("attestations", $"{PerCpuSecond,10:N0} /CPU s", $"of the service: {CpuMilliseconds:N3} ms of processor time for one");
            Line("the service's processor", $"{100 * (service.After.Cpu - service.Before.Cpu) / Loop.Length,10:N0} %", "of one core");
            Line("the service's memory", $"{service.After.Resident / 1e6,10:N1} MB", $"at the end; at most {service.After.Peak / 1e6:N1} MB since its start");
            Line("to storage devices", $"{(double)(service.After.Written - service.Before.Written) / Loop.Passed,10:N0} B", "written by the service for an attestation");
        }

        Line("this program's processor", $"{(Generator.After.Cpu - Generator.Before.Cpu).TotalMilliseconds / Loop.Passed,10:N3} ms", $"for an attestation; {100 * (Generator.After.Cpu - Generator.Before.Cpu) / Loop.Length:N0} % of one core: it signs quotes, and shares the machine");
        Line("on the wire", $"{BytesSent,10:N0} B", $"to the service for an attestation, and {BytesReceived:N0} B back, with TLS; {(double)Wire.Requests / Loop.Passed:N2} requests");
        if (Storage is { } storage)
        {
            Line("requests to the store", $"{(double)storage.Values.Sum() / Loop.Passed,10:N2}", "for an attestation:");
            foreach (var (kind, count) in storage.OrderByDescending(static s => s.Value))
                Line("", $"{(double)count / Loop.Passed,10:N3}", kind);
        }
        else if (Options.Url is null)
        {
            Line("operations of the store", $"{"-",10}", "not counted on SQLite, which has no requests; --azurite counts those of the same interfaces");
        }

        foreach (var (end, (count, first)) in Loop.Others)
            Line("ended otherwise", $"{count,10:N0}", $"{end}: {first}");

        void Line(string what, string figure, string more) => to.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{what,-26}{figure,-18} {more}"));
    }
}
