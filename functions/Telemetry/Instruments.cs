using System.Collections.Frozen;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using Keylime.Attestation;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Telemetry;

/// <summary>
/// What the service counts and measures. Names, units and all values that an attribute can have are in docs/telemetry.md: they are words of ours, few, and never the name of a machine. Where
/// nobody listens a count costs one comparison.
/// </summary>
internal sealed class Instruments : IDisposable
{
    // What findings are about (FindingCodes, up to the dot). A code of another kind would be counted as "other".
    private static readonly FrozenDictionary<string, string> Causes =
        ((string[])["key", "quote", "ima", "boot", "pcr", "policy", "internal"]).ToFrozenDictionary(static c => c, static c => c);

    private readonly Counter<long> _attestations;
    private readonly Histogram<double> _duration;
    private readonly Counter<long> _sessions;
    private readonly Counter<long> _deliveries;
    private readonly Counter<long> _releases;
    private readonly Counter<long> _vaultCalls;
    private readonly Counter<long> _throttles;
    private readonly Counter<long> _retries;

    public Instruments(IMeterFactory meters)
    {
        Meter = meters.Create(Traces.Name, ServiceVersion.Text);
        _attestations = Meter.CreateCounter<long>("keylime.attestations", "{attestation}", "Attestations that were judged, by their outcome and by what spoke against them.");
        _duration = Meter.CreateHistogram<double>(
            "keylime.attestation.duration", "s", "From the evidence to its verdict, before it is stored.", null,
            new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] });
        _sessions = Meter.CreateCounter<long>("keylime.sessions", "{session}", "Sessions, by what became of them: opened, proven or refused.");
        _deliveries = Meter.CreateCounter<long>("keylime.deliveries", "{delivery}", "Events on their way to webhooks: delivered, an attempt that failed, or dead after the last of them.");
        _releases = Meter.CreateCounter<long>("keylime.payload.releases", "{release}", "Decisions on requests for payloads, with the reason of a no.");
        _vaultCalls = Meter.CreateCounter<long>("keylime.vault.calls", "{call}", "Calls of the vault, by operation and result.");
        _throttles = Meter.CreateCounter<long>("keylime.store.throttles", "{answer}", "Answers of a store that it has too much to do.");
        _retries = Meter.CreateCounter<long>("keylime.store.retries", "{request}", "Requests to Azure Storage that were sent once more.");
    }

    public Meter Meter { get; }

    /// <summary>A verdict that was stored.</summary>
    public void Judged(VerdictRecord verdict)
    {
        var cause = verdict.Message.Findings is [var finding, ..] ? CauseOf(finding.Code) : "none";
        Judged(verdict.Pass ? "pass" : verdict.Message.Findings.Any(static f => f.Code == FindingCodes.AppraisalError) ? "error" : "fail", cause);
    }

    /// <summary>Evidence that could not be judged, as the store did not answer: no verdict, and the agent will come again.</summary>
    public void NotJudged() => Judged("error", "store");

    public void Took(bool pass, TimeSpan time) => _duration.Record(time.TotalSeconds, new KeyValuePair<string, object?>("keylime.outcome", pass ? "pass" : "fail"));

    public void Session(string result) => _sessions.Add(1, new KeyValuePair<string, object?>("keylime.session.result", result));

    public void Delivery(string result) => _deliveries.Add(1, new KeyValuePair<string, object?>("keylime.delivery.result", result));

    /// <param name="reason">The code of the ledger: one of those of the program.</param>
    public void Released(bool granted, string reason) => _releases.Add(
        1, new KeyValuePair<string, object?>("keylime.release.decision", granted ? "granted" : "withheld"), new KeyValuePair<string, object?>("keylime.release.reason", reason));

    public void VaultCalled(string operation, string result) => _vaultCalls.Add(
        1, new KeyValuePair<string, object?>("keylime.vault.operation", operation), new KeyValuePair<string, object?>("keylime.vault.result", result));

    public void Throttled(string answer) => _throttles.Add(1, new KeyValuePair<string, object?>("keylime.store.answer", answer));

    public void Retried() => _retries.Add(1);

    public void Dispose() => Meter.Dispose();

    private void Judged(string outcome, string cause)
    {
        _attestations.Add(1, new KeyValuePair<string, object?>("keylime.outcome", outcome), new KeyValuePair<string, object?>("keylime.cause", cause));
        if (outcome != "pass" && Traces.IsKept)
            Activity.Current?.SetTag("keylime.outcome", outcome).SetTag("keylime.cause", cause);
    }

    private static string CauseOf(string code) => Causes.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(code.AsSpan(0, Math.Max(0, code.IndexOf('.'))), out var cause) ? cause : "other";
}
