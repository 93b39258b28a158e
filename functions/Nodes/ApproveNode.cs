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
            new("Admit a waiting node, or the new key of a known one.", ApiJson.Default.ApproveNode, ApiJson.Default.NodeDetails));

    private static async Task<IResult> HandleAsync(
        AgentId id, HttpContext context, EnrolNodes.Dependencies use, IEventStore events, CancellationToken cancel)
    {
        if (!(await RequestBody.ReadJsonAsync(context, ApiJson.Default.ApproveNode, cancel)).TryGet(out var asked, out var unread))
            return unread;

        for (var tries = 0; tries < MaxTries; tries++)
        {
            if (await use.Nodes.FindAsync(id, cancel) is not { } stored)
                return GetNode.NotFound(id);
            if (stored.Value.Waiting is not null)
                return await EnrolNodes.EnrolAsync(id, (asked.Node ?? new EnrolNode()) with { AttestationKeyName = asked.AttestationKeyName }, context.CallerName(), use, cancel);
            if (stored.Value.RetiredAt is not null)
                return new Refusal(StatusCodes.Status409Conflict, "retired", $"'{id}' is retired.") { Hint = $"keylime node reactivate {id}" };

            var registration = await use.Registrations.FindAsync(id.ToString(), cancel);
            if (registration?.Value.Proposal is not { ProvenAt: { } provenAt } proposal)
            {
                return string.Equals(Convert.ToHexStringLower(stored.Value.AttestationKeyName.Span), asked.AttestationKeyName, StringComparison.OrdinalIgnoreCase)
                    ? await EnrolNodes.AnswerAsync(StatusCodes.Status200OK, stored.Value, use.Verdicts, use.Clock.GetUtcNow(), cancel) // approved before
                    : new Refusal(StatusCodes.Status409Conflict, "nothing_to_approve", $"'{id}' is admitted, and no other key of its TPM waits for approval.");
            }

            // What is approved is the very key that was looked at, whatever is proposed by now.
            var name = KeyNames.Of(proposal.AttestationKey);
            if (!string.Equals(name, asked.AttestationKeyName, StringComparison.OrdinalIgnoreCase))
                return new Refusal(StatusCodes.Status409Conflict, "other_key", $"attestationKeyName: the key that waits is {name}, not {asked.AttestationKeyName}.");

            // First the node, which is what counts; then the registration: as long as the proposal is there, this can be done again.
            var next = Pin(stored.Value, PublicArea.Parse(proposal.AttestationKey.Span));
            if (!ReferenceEquals(next, stored.Value) && await use.Nodes.TryReplaceAsync(stored, next, cancel) is null)
                continue;
            await events.AddAsync(EventRecord.Of(id, provenAt, EventTypes.KeyChangeApproved, $"{context.CallerName()} approved the attestation key {name}; the old one opens nothing any more."), CancellationToken.None);
            if (!await use.Registrations.TryReplaceAsync(registration, registration.Value with { AttestationKey = proposal.AttestationKey, ExpectedTagHash = proposal.ExpectedTagHash, Proposal = null, Offer = null }, CancellationToken.None))
                continue;

            LogApproved(use.Log, id, name);
            return await EnrolNodes.AnswerAsync(StatusCodes.Status200OK, next, use.Verdicts, use.Clock.GetUtcNow(), cancel);
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this node at this moment; try again.");
    }

    // The token and the challenge of the old key die with it; the history stays.
    private static Node Pin(Node node, PublicArea key) => node.AttestationKeyName.Span.SequenceEqual(key.ComputeName())
        ? node
        : node with { AttestationKey = key.Encode(), AttestationKeyName = key.ComputeName(), Session = null, Open = null };

    [LoggerMessage(Level = LogLevel.Warning, Message = "The attestation key of {Agent} is now {Name}, by approval")]
    private static partial void LogApproved(ILogger log, AgentId agent, string name);
}
