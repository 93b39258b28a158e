using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;
using Keylime.Tpm;

namespace Keylime.Functions.Nodes;

/// <summary><c>POST /v1/nodes/{id}/approve</c>: admits a node that waits, or the new attestation key that a known TPM has proven.</summary>
internal static partial class ApproveNode
{
    private const int MaxTries = 5;

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapPost("/v1/nodes/{id}/approve", HandleAsync).Under(new(Caller.Operator | Caller.Approver, ApiFamily.Own, RouteRules.NodeBody) { Scoped = Scoping.Handler },
            new("Admit a waiting node, or the new key of a known one.", ApiJson.Default.ApproveNode, ApiJson.Default.NodeDetails) { OrStatus = StatusCodes.Status201Created });

    private static async Task<IResult> HandleAsync(
        AgentId id, HttpContext context, EnrolNodes.Dependencies use, CancellationToken cancel)
    {
        if (!(await RequestBody.ReadJsonAsync(context, ApiJson.Default.ApproveNode, cancel)).TryGet(out var asked, out var unread))
            return unread;

        for (var tries = 0; tries < MaxTries; tries++)
        {
            // Of what is of other groups, or waits with another key than the caller knows, nothing is told.
            if (await use.Nodes.FindAsync(id, cancel) is not { } stored || !EnrolNodes.MayAdmit(stored.Value, context.Scope())
                || !context.Scope().Covers(stored.Value) && !IsNamed(stored.Value, asked))
            {
                return GetNode.NotFound(id);
            }

            if (stored.Value.RetiredAt is not null)
                return new Refusal(StatusCodes.Status409Conflict, "retired", $"'{id}' is retired.") { Hint = $"keylime node reactivate {id}" };

            // A verdict that a crash left in the history is brought in, before its challenge goes.
            stored = await use.Settlement.SettleAsync(stored, null, cancel);
            var registration = await use.Registrations.FindAsync(id.ToString(), cancel);
            var waits = stored.Value.Waiting is not null;
            var settings = (asked.Node ?? new EnrolNode()) with { AttestationKeyName = asked.AttestationKeyName };
            if (waits && await EnrolNodes.ObjectionAsync(settings, "", use.Policies, context.Scope(), cancel) is { } objection)
                return objection;
            if (!waits && EnrolNodes.PolicyDifference(stored.Value, With(stored.Value, settings)) is { } otherwise)
            {
                return new Refusal(StatusCodes.Status409Conflict, "enrolled_otherwise", $"'{id}' is enrolled already, with {otherwise}; an approval does not change that.")
                { Hint = $"keylime node update {id} does." };
            }

            // What is approved is the very key that was looked at, whatever is proposed by now. One that waits may have lost its first key meanwhile.
            var proposed = registration?.Value.Proposal is { ProvenAt: not null, AttestationKey: var offered } ? KeyNames.Of(offered) : null;
            if (registration?.Value.Proposal is { ProvenAt: { } provenAt } proposal && proposed is not null && string.Equals(proposed, asked.AttestationKeyName, StringComparison.OrdinalIgnoreCase))
            {
                // First the node, which is what counts; then the registration: as long as the proposal is there, this can be done again.
                var next = Pin(stored.Value, PublicArea.Parse(proposal.AttestationKey.Span));
                if (!ReferenceEquals(next, stored.Value))
                {
                    var happened = EventRecord.Of(id, provenAt, EventTypes.KeyChangeApproved, $"{context.CallerName()} approved the attestation key {proposed}; the old one opens nothing any more.");
                    if (await use.Settlement.ChangeAsync(stored, next, happened, cancel) is not { } changed)
                        continue;
                    stored = changed;
                }

                if (!await TryFinishAsync(stored.Value, registration, use.Registrations))
                    continue;
                LogApproved(use.Log, id, proposed);
            }
            else if (!waits && proposed is not null)
            {
                return new Refusal(StatusCodes.Status409Conflict, "other_key", $"attestationKeyName: the key that waits is {proposed}, not {asked.AttestationKeyName}.");
            }
            else if (!waits && !IsNamed(stored.Value, asked))
            {
                return new Refusal(StatusCodes.Status409Conflict, "nothing_to_approve", $"'{id}' is admitted, and no other key of its TPM waits for approval.");
            }

            return waits
                ? await EnrolNodes.EnrolAsync(id, settings, context.CallerName(), context.Scope(), use, cancel)
                : await EnrolNodes.AnswerAsync(StatusCodes.Status200OK, stored.Value, use.Verdicts, await use.Heartbeat.NowAsync(cancel), cancel);
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this node at this moment; try again.");
    }

    /// <summary>Makes the key that a node is pinned to the one of its registration, where that still proposes it.</summary>
    /// <returns><see langword="false"/> if it proposes another one, or has changed since it was read.</returns>
    public static async Task<bool> TryFinishAsync(Node node, Stored<Registration> registration, IRecordStore<Registration> registrations) =>
        registration.Value.Proposal is { ProvenAt: not null } proposal
        && PublicArea.Parse(proposal.AttestationKey.Span).ComputeName().AsSpan().SequenceEqual(node.AttestationKeyName.Span)
        && await registrations.TryReplaceAsync(registration, registration.Value with
        {
            AttestationKey = proposal.AttestationKey,
            ExpectedTagHash = proposal.ExpectedTagHash,
            Proposal = null,
            Offer = null,
        }, CancellationToken.None);

    private static bool IsNamed(Node node, Protocol.Api.ApproveNode asked) =>
        string.Equals(Convert.ToHexStringLower(node.AttestationKeyName.Span), asked.AttestationKeyName, StringComparison.OrdinalIgnoreCase);

    // Only what was asked for counts: who approves a key says nothing of policies.
    private static Node With(Node node, EnrolNode wanted) => node with
    {
        RuntimePolicy = wanted.RuntimePolicy ?? node.RuntimePolicy,
        BootPolicy = wanted.BootPolicy ?? node.BootPolicy,
        IntervalSeconds = wanted.IntervalSeconds ?? node.IntervalSeconds,
        Pcrs = wanted.Pcrs ?? node.Pcrs,
        Recovery = wanted.Recovery is { } recovery ? Recoveries.Stored(recovery) : node.Recovery,
        Group = wanted.Group ?? node.Group,
    };

    // The token and the challenge of the old key die with it; the history stays.
    private static Node Pin(Node node, PublicArea key) => node.AttestationKeyName.Span.SequenceEqual(key.ComputeName())
        ? node
        : node with { AttestationKey = key.Encode(), AttestationKeyName = key.ComputeName(), Session = null, Open = null };

    [LoggerMessage(Level = LogLevel.Warning, Message = "The attestation key of {Agent} is now {Name}, by approval")]
    private static partial void LogApproved(ILogger log, AgentId agent, string name);
}
