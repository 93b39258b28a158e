using System.Globalization;
using Keylime.Attestation;
using Keylime.Functions.Policies;
using Keylime.Functions.Storage;
using Keylime.Protocol.Api;
using Keylime.Tpm;
using Coverage = Keylime.Protocol.Api.Coverage;

namespace Keylime.Functions.Verifier;

/// <summary>Judging itself. A test may put another in its place, one that fails.</summary>
internal delegate Verdict Appraiser(AppraisalRequest request, Evidence evidence);

/// <summary>From evidence to the verdict that is stored: with what was pinned when the evidence was asked for, and nothing else.</summary>
internal sealed partial class Judge(CompiledPolicies policies, Appraiser appraise, TimeProvider clock, ILogger<Judge> log)
{
    private const int MaxText = 1024;
    private const int MaxAllowed = 16;

    public async Task<VerdictRecord> JudgeAsync(Node node, OpenAttestation open, Evidence evidence, DateTimeOffset receivedAt, CancellationToken cancel)
    {
        // A store that does not answer is no verdict: this goes up as it is.
        var runtime = open.RuntimePolicyDigest is { } digest ? await policies.FindAsync(digest, cancel) : null;

        Verdict? verdict = null;
        Finding? own = null;
        try
        {
            if (!AttestationKey.TryCreate(PublicArea.Parse(node.AttestationKey.Span), out var key, out own))
                return Record(node, open, null, own, receivedAt);
            using (key)
                verdict = appraise(Request(node, open, key, runtime), evidence);

            // The node wants a runtime policy: without it the rest passing is no pass.
            if (node.RuntimePolicy is { } name && runtime is null)
                own = new Finding(FindingCodes.PolicyMissing, $"The runtime policy '{name}' of this node is not there or cannot be read.");
        }
#pragma warning disable CA1031 // Judging: whatever goes wrong in it is a failed attestation, never a lost one.
        catch (Exception e)
#pragma warning restore CA1031
        {
            LogBroken(log, e, node.Id.ToString());
            own = new Finding(FindingCodes.AppraisalError, $"The evidence could not be judged: {e.GetType().Name}.");
        }

        return Record(node, open, verdict, own, receivedAt);
    }

    private static AppraisalRequest Request(Node node, OpenAttestation open, AttestationKey key, RuntimePolicy? runtime) => new()
    {
        Key = key,
        Quote = new QuoteRequest(open.Nonce, new PcrSelection(open.Bank, new PcrSet(open.PcrBits)), new KeyScheme(open.Scheme, open.SchemeHash)),
        Identity = node.Identity,
        LastClock = node.Clock is { } last ? new ClockInfo(last.Milliseconds, last.ResetCount, last.RestartCount, last.Safe) : null,
        Pcrs = Asking.PcrsWithValues(node),
        Runtime = runtime,
        ImaStart = open.Ima?.Start is { } start ? new ImaCheckpoint(start.Entries, start.Bank, start.Aggregate, start.ResetCount) : null,
    };

    private VerdictRecord Record(Node node, OpenAttestation open, Verdict? verdict, Finding? own, DateTimeOffset receivedAt)
    {
        Finding[] findings = [.. own is null ? Array.Empty<Finding>() : [own], .. verdict?.Findings ?? []];
        var count = (own is null ? 0 : 1) + (verdict?.FindingCount ?? 0);
        var pass = verdict is { Pass: true } && own is null && count == 0;
        var quote = verdict?.Quote;
        var proven = pass && verdict?.Ima?.Proven is { } checkpoint
            ? new NodeCheckpoint(checkpoint.Entries, checkpoint.Bank, checkpoint.Aggregate, checkpoint.ResetCount, open.BootTime, open.RuntimePolicyDigest)
            : null;
        return new VerdictRecord
        {
            Node = node.Id,
            RequestedAt = open.RequestedAt,
            EvidenceReceivedAt = receivedAt,
            FailureReason = pass ? null : verdict is { BrokenEvidenceChain: false } ? "policy_violation" : "broken_evidence_chain",
            CheckpointChange = proven is not null ? CheckpointChange.Set
                : open.Ima?.Start is not null && verdict?.Ima is { Proven: null } ? CheckpointChange.Clear // the list is not the one that it was
                : CheckpointChange.Keep,
            Checkpoint = proven,
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
        covered?.BootPcrValues == true ? "pcr-values" : "none",
        covered?.RuntimeIma == true ? "ima" : "none");

    private static FindingMessage Describe(Finding finding) => new(finding.Code, Cut(finding.Detail))
    {
        Path = finding.File is { } file ? Cut(file.Path) : null,
        Seen = finding.File?.Seen,
        Allowed = finding.File is { Allowed: var allowed } ? [.. allowed.Take(MaxAllowed)] : null,
        Line = finding.File?.Line,
    };

    private static string Cut(string text) => text.Length <= MaxText ? text : text[..MaxText];

    [LoggerMessage(Level = LogLevel.Error, Message = "Judging evidence of {Agent} went wrong; the attestation failed")]
    private static partial void LogBroken(ILogger log, Exception e, string agent);
}
