using Keylime.Attestation;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol.Api;
using Keylime.Tpm;

namespace Keylime.Functions.Policies;

/// <summary>
/// Tries a policy against the last evidence of a node, from its quote on, as if it came now: nothing is stored, and no node's state changes.
/// </summary>
internal sealed class PolicyTrials(EvidenceHistory history, IBlobStore blobs, TimeProvider clock)
{
    public async Task<PolicyTrial> TryAsync(Node node, PolicyReading policy, CancellationToken cancel)
    {
        var (last, lines, bootLog) = await FindAsync(node, policy, cancel);
        if (last?.Evidence is not { } kept || !AttestationKey.TryCreate(PublicArea.Parse(node.AttestationKey.Span), out var key, out _))
            return new PolicyTrial(node.Id, TrialOutcome.NoEvidence, [], 0);

        using (key)
        {
            var verdict = Appraisal.Appraise(
                new AppraisalRequest
                {
                    Key = key,
                    Quote = new QuoteRequest(kept.Nonce, new PcrSelection(kept.Bank, new PcrSet(kept.PcrBits)), new KeyScheme(kept.Scheme, kept.SchemeHash)),
                    Identity = node.Identity,
                    Runtime = (policy as PolicyReading.Runtime)?.Policy,
                    Boot = (policy as PolicyReading.Boot)?.Policy,
                    At = clock.GetUtcNow(),
                },
                new Evidence(new QuoteEvidence(kept.Message, kept.Signature, kept.PcrValues), lines) { BootLog = bootLog });
            return new PolicyTrial(
                node.Id, verdict.Pass ? TrialOutcome.Pass : TrialOutcome.Fail, [.. verdict.Findings.Select(Judge.Describe)], verdict.FindingCount)
            { Attestation = last.Message.Attestation };
        }
    }

    private async Task<(VerdictRecord? Last, ReadOnlyMemory<byte>? Lines, ReadOnlyMemory<byte>? BootLog)> FindAsync(Node node, PolicyReading policy, CancellationToken cancel)
    {
        if (policy is PolicyReading.Runtime)
            return await history.LastListAsync(node, cancel) is var (last, lines) ? (last, lines, null) : default;
        return await history.LastBootAsync(node, cancel) is { Evidence.BootLog: { } digest } boot && await blobs.FindAsync(digest, cancel) is { } log ? (boot, null, log) : default;
    }
}
