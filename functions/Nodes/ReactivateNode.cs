using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Nodes;

/// <summary><c>POST /v1/nodes/{id}/reactivate</c>: takes a retired node back, with the key and the policies that it had.</summary>
internal static class ReactivateNode
{
    private const int MaxTries = 5;

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapPost("/v1/nodes/{id}/reactivate", HandleAsync).Under(
            new(Caller.Operator, ApiFamily.Own) { Scoped = Scoping.Node }, new("Take a retired node back.", null, ApiJson.Default.NodeDetails));

    private static async Task<IResult> HandleAsync(
        AgentId id, HttpContext context, EnrolNodes.Dependencies use, CancellationToken cancel)
    {
        for (var tries = 0; tries < MaxTries; tries++)
        {
            if (await use.Nodes.FindAsync(id, context.Scope(), cancel) is not { } stored)
                return GetNode.NotFound(id);
            if (await use.Registrations.FindAsync(id.ToString(), cancel) is not { Value: { Active: true } registration }
                || !registration.EndorsementKeyHash.Span.SequenceEqual(stored.Value.EndorsementKeyHash.Span))
            {
                return new Refusal(StatusCodes.Status409Conflict, "not_registered", $"The TPM of '{id}' is not registered any more.")
                { Hint = "Start its agent, which registers it, and enrol it again." };
            }

            stored = await use.Settlement.SettleAsync(stored, null, cancel);
            var now = use.Clock.GetUtcNow();
            if (stored.Value.RetiredAt is not null)
            {
                // It has to prove itself anew: what was known of it before is history.
                var next = stored.Value with { RetiredAt = null, ReactivatedAt = now, Last = null, LateAt = null, SilentAt = null, Unhealed = null, Checkpoint = null, Boot = null };
                stored = await use.Settlement.ChangeAsync(stored, next, EventRecord.Of(id, now, EventTypes.NodeReactivated, $"Taken back by {context.CallerName()}."), cancel);
                if (stored is null)
                    continue;
            }

            return await EnrolNodes.AnswerAsync(StatusCodes.Status200OK, stored.Value, use.Verdicts, await use.Heartbeat.NowAsync(cancel), cancel);
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this node at this moment; try again.");
    }
}
