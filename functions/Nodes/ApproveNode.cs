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
        routes.MapPost("/v1/nodes/{id}/approve", HandleAsync).Under(new(Caller.Operator | Caller.Approver, ApiFamily.Own, RouteRules.NodeBody),
            new("Admit a waiting node, or the new key of a known one.", ApiJson.Default.ApproveNode, ApiJson.Default.NodeDetails) { OrStatus = StatusCodes.Status201Created });

    private static async Task<IResult> HandleAsync(
        AgentId id, HttpContext context, EnrolNodes.Dependencies use, IEventStore events, CancellationToken cancel)
    {
        if (!(await RequestBody.ReadJsonAsync(context, ApiJson.Default.ApproveNode, cancel)).TryGet(out var asked, out var unread))
            return unread;

        for (var tries = 0; tries < MaxTries; tries++)
        {
            if (await use.Nodes.FindAsync(id, cancel) is not { } stored)
                return GetNode.NotFound(id);
            if (stored.Value.RetiredAt is not null)
                return new Refusal(StatusCodes.Status409Conflict, "retired", $"'{id}' is retired.") { Hint = $"keylime node reactivate {id}" };

            var registration = await use.Registrations.FindAsync(id.ToString(), cancel);
            if (stored.Value.Waiting is not null)
            {
                var node = (asked.Node ?? new EnrolNode()) with { AttestationKeyName = asked.AttestationKeyName };
                if (await EnrolNodes.ObjectionAsync(node, "", use.Policies, cancel) is { } objection)
                    return objection;

                // It may have lost its first key while it waited.
                if (registration?.Value.Proposal is { ProvenAt: { } at } other && IsNamed(other, asked.AttestationKeyName) && !await AdoptAsync(registration, other, at, context, use, events))
                    continue;
                return await EnrolNodes.EnrolAsync(id, node, context.CallerName(), use, cancel);
            }

            if (registration?.Value.Proposal is not { ProvenAt: { } provenAt } proposal)
            {
                if (!string.Equals(Convert.ToHexStringLower(stored.Value.AttestationKeyName.Span), asked.AttestationKeyName, StringComparison.OrdinalIgnoreCase))
                    return new Refusal(StatusCodes.Status409Conflict, "nothing_to_approve", $"'{id}' is admitted, and no other key of its TPM waits for approval.");

                // Approved before; what a crash may have left out is told.
                await use.Maker.TellEnrolledAsync(stored.Value, CancellationToken.None);
                return await EnrolNodes.AnswerAsync(StatusCodes.Status200OK, stored.Value, use.Verdicts, use.Clock.GetUtcNow(), cancel);
            }

            // What is approved is the very key that was looked at, whatever is proposed by now.
            var name = KeyNames.Of(proposal.AttestationKey);
            if (!IsNamed(proposal, asked.AttestationKeyName))
                return new Refusal(StatusCodes.Status409Conflict, "other_key", $"attestationKeyName: the key that waits is {name}, not {asked.AttestationKeyName}.");

            // First the node, which is what counts; then the registration: as long as the proposal is there, this can be done again.
            var next = Pin(stored.Value, PublicArea.Parse(proposal.AttestationKey.Span));
            if (!ReferenceEquals(next, stored.Value) && await use.Nodes.TryReplaceAsync(stored, next, cancel) is null)
                continue;
            if (!await AdoptAsync(registration, proposal, provenAt, context, use, events))
                continue;

            LogApproved(use.Log, id, name);
            return await EnrolNodes.AnswerAsync(StatusCodes.Status200OK, next, use.Verdicts, use.Clock.GetUtcNow(), cancel);
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this node at this moment; try again.");
    }

    private static bool IsNamed(KeyProposal proposal, string name) => string.Equals(KeyNames.Of(proposal.AttestationKey), name, StringComparison.OrdinalIgnoreCase);

    /// <returns><see langword="false"/> where the registration has changed meanwhile.</returns>
    private static async Task<bool> AdoptAsync(
        Stored<Registration> registration, KeyProposal proposal, DateTimeOffset provenAt, HttpContext context, EnrolNodes.Dependencies use, IEventStore events)
    {
        await events.AddAsync(EventRecord.Of(registration.Value.Id, provenAt, EventTypes.KeyChangeApproved,
            $"{context.CallerName()} approved the attestation key {KeyNames.Of(proposal.AttestationKey)}; the old one opens nothing any more."), CancellationToken.None);
        var next = registration.Value with { AttestationKey = proposal.AttestationKey, ExpectedTagHash = proposal.ExpectedTagHash, Proposal = null, Offer = null };
        return await use.Registrations.TryReplaceAsync(registration, next, CancellationToken.None);
    }

    // The token and the challenge of the old key die with it; the history stays.
    private static Node Pin(Node node, PublicArea key) => node.AttestationKeyName.Span.SequenceEqual(key.ComputeName())
        ? node
        : node with { AttestationKey = key.Encode(), AttestationKeyName = key.ComputeName(), Session = null, Open = null };

    [LoggerMessage(Level = LogLevel.Warning, Message = "The attestation key of {Agent} is now {Name}, by approval")]
    private static partial void LogApproved(ILogger log, AgentId agent, string name);
}
