using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Keylime.Attestation;
using Keylime.Functions.Policies;
using Keylime.Functions.Storage;
using Keylime.Functions.Telemetry;
using Keylime.Protocol.Api;
using Keylime.Tpm;
using Coverage = Keylime.Protocol.Api.Coverage;

namespace Keylime.Functions.Verifier;

/// <summary>Judging itself. A test may put another in its place, one that fails.</summary>
internal delegate Verdict Appraiser(AppraisalRequest request, Evidence evidence);

/// <summary>From evidence to the verdict that is stored: with what was pinned when the evidence was asked for, and nothing else.</summary>
internal sealed partial class Judge(
    CompiledPolicies policies, AttestationKeyCache keys, IBlobStore blobs, ImaStates states, Appraiser appraise, Instruments instruments, TimeProvider clock, ILogger<Judge> log)
{
    private const int MaxText = 1024;
    private const int MaxAllowed = 16;

    /// <exception cref="StorageUnavailableException">What it takes to judge cannot be read or kept.</exception>
    public async Task<VerdictRecord> JudgeAsync(Node node, OpenAttestation open, Evidence evidence, DateTimeOffset receivedAt, CancellationToken cancel)
    {
        using var span = Traces.IsKept ? Traces.Source.StartActivity("judge") : null;
        var start = clock.GetTimestamp();
        try
        {
            var verdict = await AppraiseAsync(node, open, evidence, receivedAt, cancel);
            instruments.Took(verdict.Pass, clock.GetElapsedTime(start));
            return verdict;
        }
        catch (StorageUnavailableException e)
        {
            span?.Fail(e);
            instruments.NotJudged();
            throw;
        }
    }

    private async Task<VerdictRecord> AppraiseAsync(Node node, OpenAttestation open, Evidence evidence, DateTimeOffset receivedAt, CancellationToken cancel)
    {
        // A store that does not answer is no verdict: this goes up as it is.
        var runtime = open.RuntimePolicyDigest is { } digest ? await policies.FindRuntimeAsync(digest, cancel) : null;
        var boot = open.BootPolicyDigest is { } bootDigest ? await policies.FindBootAsync(bootDigest, cancel) : null;
        var state = open.Ima?.Start?.StateDigest is { } stateDigest ? await states.FindAsync(stateDigest, cancel) : ImaState.Empty;

        Verdict? verdict = null;
        Finding? own = null;
        try
        {
            if (!TryStart(open, state, out var start, out own) || !keys.TryLend(node, out var lent, out own))
                return Record(node, open, new Judged(null, own, null), receivedAt);
            using (lent)
                verdict = appraise(Request(node, open, lent.Key, runtime, boot, start, receivedAt), evidence);

            // The node wants these policies: without one the rest passing is no pass.
            if (node.RuntimePolicy is { } name && runtime is null)
                own = new Finding(FindingCodes.PolicyMissing, $"The runtime policy '{name}' of this node is not there, not in force, or cannot be used.");
            else if (node.BootPolicy is { } bootName && boot is null)
                own = new Finding(FindingCodes.PolicyMissing, $"The boot policy '{bootName}' of this node is not there, not in force, or cannot be used.");
        }
#pragma warning disable CA1031 // Judging: whatever goes wrong in it is a failed attestation, never a lost one.
        catch (Exception e)
#pragma warning restore CA1031
        {
            LogBroken(log, e, node.Id.ToString());
            own = new Finding(FindingCodes.AppraisalError, $"The evidence could not be judged: {e.GetType().Name}.");
        }

        return Record(node, open, new Judged(verdict, own, await KeepAsync(open, evidence, verdict, cancel)) { StateDigest = verdict?.Ima?.Proven is { } proven ? await states.PutAsync(proven.State, cancel) : null }, receivedAt);
    }

    /// <summary>What judging came to.</summary>
    private sealed record Judged(Verdict? Verdict, Finding? Own, KeptEvidence? Kept)
    {
        public string? StateDigest { get; init; }
    }

    // What earlier lines taught is part of judging later ones: without it they cannot be judged, and the list is wanted from its start.
    private static bool TryStart(OpenAttestation open, ImaState? state, out ImaCheckpoint? start, [NotNullWhen(false)] out Finding? finding)
    {
        (start, finding) = (null, null);
        if (open.Ima?.Start is not { } proven)
            return true;

        if (state is null)
        {
            finding = new Finding(FindingCodes.ImaCheckpointStale, $"What the first {proven.Entries} lines left behind cannot be read. The next attestation starts at line 0.");
            return false;
        }

        start = new ImaCheckpoint(proven.Entries, proven.Bank, proven.Aggregate, proven.ResetCount) { State = state };
        return true;
    }

    // Proven evidence alone: what nobody signed would let an agent fill the store. Lines behind the quote come again with the next one.
    private async Task<KeptEvidence?> KeepAsync(OpenAttestation open, Evidence evidence, Verdict? verdict, CancellationToken cancel)
    {
        if (verdict?.Quote is null)
            return null;

        string? lines = null;
        if (verdict.Ima is { Proven: { } proven, From: var from } && proven.Entries > from && evidence.ImaLines is { } list)
            lines = await blobs.PutAsync(list[..LengthOf(list.Span, proven.Entries - from)], cancel);
        var bootLog = verdict.BootLogProven && evidence.BootLog is { } log ? await blobs.PutAsync(log, cancel) : null;
        return lines is null && bootLog is null
            ? null
            : new KeptEvidence(open.Nonce, open.Bank, open.PcrBits, open.Scheme, open.SchemeHash, evidence.Quote.Message, evidence.Quote.Signature, evidence.Quote.PcrBlob)
            {
                ImaLines = lines,
                BootLog = bootLog,
            };
    }

    private static int LengthOf(ReadOnlySpan<byte> list, long lines)
    {
        var length = 0;
        for (; lines > 0; lines--)
            length += list[length..].IndexOf((byte)'\n') + 1;
        return length;
    }

    private static AppraisalRequest Request(
        Node node, OpenAttestation open, AttestationKey key, RuntimePolicy? runtime, BootPolicy? boot, ImaCheckpoint? start, DateTimeOffset receivedAt) => new()
        {
            Key = key,
            Quote = new QuoteRequest(open.Nonce, new PcrSelection(open.Bank, new PcrSet(open.PcrBits)), new KeyScheme(open.Scheme, open.SchemeHash)),
            Identity = node.Identity,
            LastClock = node.Clock is { } last ? new ClockInfo(last.Milliseconds, last.ResetCount, last.RestartCount, last.Safe) : null,
            Pcrs = Asking.PcrsWithValues(node),
            Runtime = runtime,
            ImaStart = start,
            Boot = boot,
            BootStart = open.Boot is { } proven ? new ProvenBoot(proven.Bank, proven.Values, proven.ResetCount) : null,
            At = receivedAt,
        };

    private VerdictRecord Record(Node node, OpenAttestation open, Judged judged, DateTimeOffset receivedAt)
    {
        var (verdict, own) = (judged.Verdict, judged.Own);
        Finding[] findings = [.. own is null ? Array.Empty<Finding>() : [own], .. verdict?.Findings ?? []];
        var count = (own is null ? 0 : 1) + (verdict?.FindingCount ?? 0);
        var pass = verdict is { Pass: true } && own is null && count == 0;
        var quote = verdict?.Quote;
        var proven = pass && verdict?.Ima?.Proven is { } checkpoint
            ? new NodeCheckpoint(checkpoint.Entries, checkpoint.Bank, checkpoint.Aggregate, checkpoint.ResetCount, open.BootTime, open.RuntimePolicyDigest)
            { StateDigest = judged.StateDigest }
            : null;
        return new VerdictRecord
        {
            Node = node.Id,
            RequestedAt = open.RequestedAt,
            EvidenceReceivedAt = receivedAt,
            FailureReason = pass ? null : verdict is { BrokenEvidenceChain: false } ? "policy_violation" : "broken_evidence_chain",
            CheckpointChange = proven is not null ? CheckpointChange.Set
                : open.Ima?.Start is not null && (verdict?.Ima is { Proven: null } || own?.Code == FindingCodes.ImaCheckpointStale) ? CheckpointChange.Clear // the list is not the one that it was
                : CheckpointChange.Keep,
            Checkpoint = proven,
            Boot = verdict?.Boot is { } booted && open.BootPolicyDigest is { } judgedBy
                ? new NodeBoot(booted.Bank, booted.Values, booted.ResetCount, open.BootTime, judgedBy)
                : null,
            BootLost = open.Boot is not null && quote is not null && verdict?.Boot is null,
            Evidence = judged.Kept,
            Clock = quote is { Clock: var at } ? new TpmClock(at.Milliseconds, at.ResetCount, at.RestartCount, at.IsSafe) : null,
            Message = new VerdictMessage
            {
                Attestation = open.Number,
                At = clock.GetUtcNow(),
                Evaluation = pass ? "pass" : "fail",
                Coverage = Describe(node.Identity, verdict?.Coverage),
                Findings = [.. findings.Select(Describe)],
                FindingCount = count,
                AttestationKeyName = Convert.ToHexStringLower(node.AttestationKeyName.Span),
                RuntimePolicyDigest = open.RuntimePolicyDigest,
                BootPolicyDigest = open.BootPolicyDigest,
                ToleratedViolations = verdict?.Ima is { Tally.Violations: > 0 and var tolerated } ? tolerated : null,
                ImaFrom = verdict?.Ima?.From,
                ImaTo = verdict?.Ima?.Proven?.Entries ?? verdict?.Ima?.To,
                Clock = quote is { Clock: var now } ? new TpmClock(now.Milliseconds, now.ResetCount, now.RestartCount, now.IsSafe) : null,
                FirmwareVersion = quote?.FirmwareVersion.ToString("x16", CultureInfo.InvariantCulture),
                Bank = quote?.Pcrs.Bank.ProtocolName(),
                Pcrs = quote?.Pcrs.Covered.ToDictionary(
                    static pcr => pcr.ToString(CultureInfo.InvariantCulture), pcr => Convert.ToHexStringLower(quote.Pcrs[pcr].Span)),
            },
        };
    }

    public static Coverage Describe(IdentityLevel identity, Keylime.Attestation.Coverage? covered) => new(
        Hosting.IdentityNames.Of(identity),
        covered?.BootEventLog == true ? "event-log" : covered?.BootPcrValues == true ? "pcr-values" : "none",
        covered?.RuntimeIma == true ? "ima" : "none");

    public static FindingMessage Describe(Finding finding) => new(finding.Code, Cut(finding.Detail))
    {
        Path = finding.File is { } file ? Cut(file.Path) : null,
        Seen = finding.File?.Seen,
        Allowed = finding.File is { Allowed: var allowed } ? [.. allowed.Take(MaxAllowed)] : null,
        Line = finding.File?.Line,
        Event = finding.Event is { } e ? new BootEventMessage(e.Pcr, e.Index, Cut(e.Type), Cut(e.Expected), Cut(e.Seen)) : null,
    };

    private static string Cut(string text) => text.Length <= MaxText ? text : text[..MaxText];

    [LoggerMessage(Level = LogLevel.Error, Message = "Judging evidence of {Agent} went wrong; the attestation failed")]
    private static partial void LogBroken(ILogger log, Exception e, string agent);
}
