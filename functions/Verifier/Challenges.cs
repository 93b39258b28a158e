using Keylime.Functions.Keys;
using Keylime.Functions.Policies;
using Keylime.Functions.Storage;
using Keylime.Tpm;

namespace Keylime.Functions.Verifier;

/// <summary>
/// Asks agents for evidence, to a fresh nonce: when they come and say what they can prove, and in advance, with the answer to the evidence before, so that one request is a whole attestation.
/// </summary>
internal sealed class Challenges(PolicyPins pins, CompiledPolicies compiled, IChallengeSource source)
{
    private static readonly TimeSpan Lifetime = TimeSpan.FromSeconds(1800);

    // What is asked in advance waits for an interval, and then for an agent that was told to spread out, a slow network, a busy TPM.
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(60);
    private const double GracePart = 0.25; // of the interval

    // A TPM's clock may be so much too slow or too fast (TPM 2.0 Library Part 1, 36), and commands take their time.
    private const double ClockDrift = 0.15;
    private static readonly TimeSpan ClockSlack = TimeSpan.FromSeconds(15);

    /// <summary>What a node's policies need of it at this moment.</summary>
    public async Task<Wanted> WantedAsync(Node node, DateTimeOffset now, CancellationToken cancel)
    {
        var judges = await PinnedPolicies.OfAsync(node, pins, cancel);
        var boot = judges.Boot is { } digest ? await compiled.FindBootAsync(digest, cancel) : null;
        return new Wanted(judges, PublicArea.Parse(node.AttestationKey.Span), Asking.Pcrs(node, boot), await StartAsync(node, judges, now, cancel));
    }

    /// <summary>The node with a challenge. A newer one takes the place of one that waits; the number of the first that may have been answered is kept.</summary>
    public Node Open(Node node, Wanted wanted, Negotiation negotiation, DateTimeOffset now) => With(node, new OpenAttestation
    {
        Number = node.NextAttestation,
        UnsettledFrom = node.Open?.UnsettledFrom ?? node.NextAttestation,
        Nonce = source.NewNonce(),
        Bank = negotiation.Bank,
        PcrBits = wanted.Pcrs.Bits,
        Scheme = wanted.Key.Scheme.Algorithm,
        SchemeHash = wanted.Key.Scheme.Hash,
        Ima = negotiation.Ima,
        RuntimePolicyDigest = wanted.Judges.Runtime,
        BootPolicyDigest = wanted.Judges.Boot,
        BootLog = negotiation.BootLog,
        Boot = negotiation.Boot,
        BootTime = negotiation.BootTime,
        RequestedAt = now,
        ExpiresAt = now + Lifetime,
    });

    /// <summary>
    /// The node with its next challenge, as it follows from the one that it has just passed and from what that has proven; itself where it has to come and ask: it failed, or is retired, or
    /// somebody has asked already.
    /// </summary>
    /// <param name="wanted">What its policies needed before the evidence was judged.</param>
    /// <param name="answered">What was asked, and passed.</param>
    public Node OpenInAdvance(Node node, Wanted wanted, OpenAttestation answered, DateTimeOffset now)
    {
        if (node is not { IsPassed: true, Waiting: null, Open: null } || node.Last!.Attestation != answered.Number)
            return node;
        var boot = node.BootPolicy is not null && node.Boot is { } proven && proven.Bank == answered.Bank && proven.PolicyDigest == wanted.Judges.Boot ? proven : null;
        return With(node, answered with
        {
            Number = node.NextAttestation,
            UnsettledFrom = node.NextAttestation,
            Nonce = source.NewNonce(),
            PcrBits = wanted.Pcrs.Bits,
            Ima = node.RuntimePolicy is null ? null : (answered.Ima ?? new OpenImaLog(null, Raw: false)) with { Start = StartsAt(node.Checkpoint, answered, wanted.Judges) },
            RuntimePolicyDigest = wanted.Judges.Runtime,
            BootPolicyDigest = wanted.Judges.Boot,
            BootLog = node.BootPolicy is not null && boot is null,
            Boot = boot,
            RequestedAt = now,
            ExpiresAt = now.AddSeconds(node.IntervalSeconds * (1 + GracePart)) + Grace,
            InAdvance = true,
        });
    }

    /// <summary>Whether what was asked in advance is what would be asked now: a policy that came into force since, or ran out, asks anew.</summary>
    public static bool StillHolds(Node node, OpenAttestation open, Wanted wanted) =>
        open.PcrBits == wanted.Pcrs.Bits
        && open.RuntimePolicyDigest == wanted.Judges.Runtime && open.BootPolicyDigest == wanted.Judges.Boot
        && open.Ima is null == node.RuntimePolicy is null && (open.BootLog || open.Boot is not null) == node.BootPolicy is not null
        && (open.Ima?.Start is not { } start || start.Entries == wanted.Start?.Entries && start.ResetCount == wanted.Start.ResetCount);

    /// <summary>
    /// Whether a quote was made long before it came: by the TPM's clock, which it has signed, not so much time has gone by since the last one as by ours. The nonce says so only to an interval
    /// where it was given in advance. What is not signed yet can only be refused for it.
    /// </summary>
    public static bool IsStale(Node node, QuoteStatement quote, DateTimeOffset now)
    {
        var clock = quote.Clock;
        if (node is not { Clock: { } before, Last: { } last } || clock.ResetCount != before.ResetCount || clock.RestartCount != before.RestartCount)
            return true; // it slept, or booted: nobody can tell
        var ours = now - last.At;
        var its = TimeSpan.FromMilliseconds(clock.Milliseconds > before.Milliseconds ? clock.Milliseconds - before.Milliseconds : 0);
        return its < ours * (1 - ClockDrift) - ClockSlack;
    }

    private static Node With(Node node, OpenAttestation open) => node with { NextAttestation = checked(open.Number + 1), Open = open };

    private static NodeCheckpoint? StartsAt(NodeCheckpoint? proven, OpenAttestation answered, PinnedPolicies judges) =>
        proven is not null && proven.Bank == answered.Bank && proven.PolicyDigest == judges.Runtime ? proven : null;

    // Lines that passed by a layer that has run out since are judged again.
    private async Task<NodeCheckpoint?> StartAsync(Node node, PinnedPolicies judges, DateTimeOffset now, CancellationToken cancel) =>
        node.Checkpoint is null || judges.Runtime is not { } digest || await compiled.FindRuntimeAsync(digest, cancel) is not { } policy
            || policy.HasLapsed(node.LastPassAt ?? DateTimeOffset.MinValue, now)
            ? null
            : node.Checkpoint;
}

/// <summary>What is wanted of a node, by whom it is judged and from where.</summary>
/// <param name="Start">The lines of the measurement list that need not be judged again, where these policies judged them.</param>
internal sealed record Wanted(PinnedPolicies Judges, PublicArea Key, PcrSet Pcrs, NodeCheckpoint? Start);
