using System.Globalization;
using Keylime.Attestation;
using Keylime.Attestation.Payloads;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol.Api;
using Keylime.Tpm;
using Payload = Keylime.Functions.Storage.Payload;

namespace Keylime.Functions.Payloads;

/// <summary>
/// Whether a node may have a payload. It follows from stored rows and the time alone: the last verdict must have passed, be fresh, cover what is wanted, come of
/// the pinned key and of the boot that the machine is in.
/// </summary>
internal abstract record ReleaseDecision
{
    /// <summary>How long a key that was released may be opened.</summary>
    public static readonly TimeSpan Lifetime = TimeSpan.FromSeconds(60);

    // A clock that was set back makes verdicts of the future; a little of that is what clocks of several instances differ by.
    private static readonly TimeSpan ClockSkew = TimeSpan.FromSeconds(5);

    private ReleaseDecision()
    {
    }

    /// <param name="EndorsementKey">That the key is sealed to.</param>
    /// <param name="Policy">What opens it.</param>
    public sealed record Granted(PublicArea EndorsementKey, BootBoundPolicy Policy, DateTimeOffset ExpiresAt) : ReleaseDecision;

    /// <param name="Code">Stable, snake case.</param>
    public sealed record Withheld(string Code, string Detail) : ReleaseDecision;

    /// <param name="verdict">The node's last one, where there is one.</param>
    /// <param name="registration">The node's, where there is one.</param>
    public static ReleaseDecision Of(Payload payload, Node node, VerdictRecord? verdict, Registration? registration, DateTimeOffset now)
    {
        if (payload.RevokedAt is { } revoked)
            return No("revoked", $"It was revoked at {revoked:u}.");
        if (payload.Terms.ExpiresAt is { } end && end <= now)
            return No("expired", $"It expired at {end:u}.");
        if (OfNode(node) is { } standing)
            return standing;
        if (verdict is null || verdict.Message.Attestation != node.Last!.Attestation || !verdict.Pass)
            return No("no_verdict", "Its last verdict cannot be read.");
        return OfVerdict(payload, node, verdict, now) ?? OfCoverage(payload.Terms, verdict.Message.Coverage) ?? Bind(payload, node, verdict, registration, now);
    }

    private static Withheld? OfNode(Node node) => node switch
    {
        { RetiredAt: { } retired } => No("node_retired", $"It was retired at {retired:u}."),
        { Waiting: not null } => No("node_not_admitted", "It waits to be admitted."),
        { Last: null } => No("no_verdict", "It has not attested yet."),
        { Last.Pass: false } => No("node_failed", $"Its last verdict, attestation {node.Last.Attestation}, is a fail."),
        { Unhealed: { } failure } => No("node_failed", $"It failed at {failure.At:u}, and nothing has healed that yet."),
        _ => null,
    };

    private static Withheld? OfVerdict(Payload payload, Node node, VerdictRecord verdict, DateTimeOffset now)
    {
        var most = TimeSpan.FromSeconds(payload.Terms.MaxAgeSeconds ?? 2 * node.IntervalSeconds);
        var age = now - verdict.RequestedAt; // no later than anything in it was read
        if (age < -ClockSkew)
            return No("verdict_of_the_future", $"Its last verdict is of {verdict.RequestedAt:u}, and it is {now:u}: the service's clock was set back.");
        if (age > most)
            return No("verdict_too_old", $"Its last verdict is {age.TotalSeconds:0} s old, and {most.TotalSeconds:0} s at most are wanted.");
        if (!string.Equals(verdict.Message.AttestationKeyName, Convert.ToHexStringLower(node.AttestationKeyName.Span), StringComparison.Ordinal))
            return No("other_key", "Its last verdict is of another attestation key than the one that is pinned now.");
        if (verdict.Clock is not { } clock || node.Clock is not { } known)
            return No("no_clock", "No quote has vouched for its clock.");
        return clock.ResetCount == known.ResetCount ? null : No("other_boot", $"Its last verdict is of boot {clock.ResetCount}, and the machine is in {known.ResetCount}.");
    }

    private static Withheld? OfCoverage(PayloadTerms terms, Protocol.Api.Coverage covered)
    {
        foreach (var wanted in terms.Require)
        {
            var (code, has) = wanted switch
            {
                PayloadTerms.Identity => ("identity_not_covered", IdentityNames.TryParse(covered.Identity, out var level) && level >= IdentityLevel.EndorsementCertificate),
                PayloadTerms.Boot => ("boot_not_covered", covered.Boot == "event-log"),
                PayloadTerms.Runtime => ("runtime_not_covered", covered.Runtime == "ima"),
                _ => ("unknown_requirement", false),
            };
            if (!has)
                return No(code, $"It requires {wanted}; the last verdict covers identity: {covered.Identity}, boot: {covered.Boot}, runtime: {covered.Runtime}.");
        }

        return null;
    }

    private static ReleaseDecision Bind(Payload payload, Node node, VerdictRecord verdict, Registration? registration, DateTimeOffset now)
    {
        if (registration is not { Active: true })
            return No("not_registered", "Its registration is gone, and with it the key that it would be sealed to.");
        if (!registration.EndorsementKeyHash.Span.SequenceEqual(node.EndorsementKeyHash.Span))
            return No("other_tpm", "Its registration is of another TPM than the one that it was enrolled with.");

        var values = new SortedDictionary<int, ReadOnlyMemory<byte>>();
        foreach (var pcr in payload.Terms.Pcrs)
        {
            if (verdict.Message.Pcrs?.TryGetValue(pcr.ToString(CultureInfo.InvariantCulture), out var value) != true)
                return No("pcr_not_proven", $"It is bound to PCR {pcr}, which the last quote does not cover.");
            values[pcr] = Convert.FromHexString(value!);
        }

        if (!TpmAlgorithms.TryFromProtocolName(verdict.Message.Bank ?? "", out var bank))
            return No("pcr_not_proven", "The last verdict does not say which bank it is of.");
        var key = PublicArea.Parse(registration.EndorsementKey.Span);
        if (EndorsementKeys.Objection(key) is { } objection)
            return No("key_unusable", objection.Detail);

        // The TPM's clock was read after the challenge was made, so by now it is no further than this.
        var clock = verdict.Clock!.Milliseconds + (ulong)Math.Max(0, (now - verdict.RequestedAt).TotalMilliseconds) + (ulong)Lifetime.TotalMilliseconds;
        return new Granted(key, new BootBoundPolicy(bank, values, verdict.Clock.ResetCount, clock), now + Lifetime);
    }

    private static Withheld No(string code, string detail) => new(code, detail);
}
