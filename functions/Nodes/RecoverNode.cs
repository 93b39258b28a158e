using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Nodes;

/// <summary><c>POST /v1/nodes/{id}/recover</c>: an operator's word that a node which failed, and passes again, is healed. It makes no pass of a fail.</summary>
internal static class RecoverNode
{
    private const int MaxTries = 5;

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapPost("/v1/nodes/{id}/recover", HandleAsync).Under(
            new(Caller.Operator, ApiFamily.Own) { Scoped = Scoping.Node }, new("Say of a node that failed, and passes again, that it is healed.", null, ApiJson.Default.NodeDetails));

    private static async Task<IResult> HandleAsync(AgentId id, HttpContext context, EnrolNodes.Dependencies use, CancellationToken cancel)
    {
        for (var tries = 0; tries < MaxTries; tries++)
        {
            if (await use.Nodes.FindAsync(id, context.Scope(), cancel) is not { } stored)
                return GetNode.NotFound(id);

            stored = await use.Settlement.SettleAsync(stored, null, cancel);
            var node = stored.Value;
            if (node.RetiredAt is not null)
                return new Refusal(StatusCodes.Status409Conflict, "retired", $"'{id}' is retired.") { Hint = $"keylime node reactivate {id}" };
            if (node.Last is { Pass: false, Attestation: var failed })
            {
                return new Refusal(StatusCodes.Status409Conflict, "still_failing", $"The last verdict on '{id}', attestation {failed}, is a fail: nobody's word makes a pass of it.")
                { Hint = "What it objects to has to go first; after the next pass this can be done." };
            }

            if (node.Unhealed is { } failure)
            {
                var happened = EventRecord.Of(id, use.Clock.GetUtcNow(), EventTypes.NodeRecovered, $"{context.CallerName()} called it healed of the failure of {failure.At:u}.", failure.Attestation);
                if (await use.Settlement.ChangeAsync(stored, node with { Unhealed = null }, happened, cancel) is not { } changed)
                    continue;
                stored = changed;
            }

            return await EnrolNodes.AnswerAsync(StatusCodes.Status200OK, stored.Value, use.Verdicts, await use.Heartbeat.NowAsync(cancel), cancel);
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this node at this moment; try again.");
    }
}
