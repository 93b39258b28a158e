using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol;

namespace Keylime.Functions.Nodes;

/// <summary><c>POST /v1/nodes/{id}/retire</c>: takes a node out. Its token dies at once; its history stays.</summary>
internal static partial class RetireNode
{
    private const int MaxTries = 5;

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapPost("/v1/nodes/{id}/retire", HandleAsync).Under(
            new(Caller.Operator, ApiFamily.Own) { Scoped = Scoping.Node }, new("Take a node out; its token dies at once, its history stays.", null, ApiJson.Default.NodeDetails));

    private static async Task<IResult> HandleAsync(
        AgentId id, HttpContext context, INodeStore nodes, IVerdictStore verdicts, Settlement settlement, Heartbeat heartbeat,
        TimeProvider clock, ILogger<Node> log, CancellationToken cancel)
    {
        for (var tries = 0; tries < MaxTries; tries++)
        {
            if (await nodes.FindAsync(id, context.Scope(), cancel) is not { } stored)
                return GetNode.NotFound(id);

            stored = await settlement.SettleAsync(stored, null, cancel);
            var now = clock.GetUtcNow();
            if (stored.Value.RetiredAt is null)
            {
                var happened = EventRecord.Of(id, now, EventTypes.NodeRetired, $"Retired by {context.CallerName()}.");
                stored = await settlement.ChangeAsync(stored, stored.Value with { RetiredAt = now, Session = null, Open = null }, happened, cancel);
                if (stored is null)
                    continue;
                LogRetired(log, id);
            }

            return await EnrolNodes.AnswerAsync(StatusCodes.Status200OK, stored.Value, verdicts, await heartbeat.NowAsync(cancel), cancel);
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this node at this moment; try again.");
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Retired {Agent}")]
    private static partial void LogRetired(ILogger log, AgentId agent);
}
