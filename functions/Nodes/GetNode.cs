using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol;

namespace Keylime.Functions.Nodes;

/// <summary><c>GET /v1/nodes/{id}</c>: a node, with its last verdict.</summary>
internal static class GetNode
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapGet("/v1/nodes/{id}", HandleAsync).Under(new(Caller.Readers, ApiFamily.Own) { Scoped = Scoping.Node }, new("A node, with its last verdict.", null, ApiJson.Default.NodeDetails));

    public static Refusal NotFound(AgentId id) =>
        new(StatusCodes.Status404NotFound, "no_such_node", $"There is no node '{id}'.") { Hint = "keylime node list (GET /v1/nodes) tells which there are." };

    private static async Task<IResult> HandleAsync(
        AgentId id, HttpContext context, INodeStore nodes, IRecordStore<Registration> registrations, IVerdictStore verdicts, Settlement settlement, Heartbeat heartbeat, CancellationToken cancel)
    {
        if (await nodes.FindAsync(id, context.Scope(), cancel) is not { } stored)
            return NotFound(id);

        // A verdict that a crash left between the history and the row is brought in before anybody is told an older one.
        var node = (await settlement.SettleAsync(stored, null, cancel)).Value;
        return await EnrolNodes.AnswerAsync(StatusCodes.Status200OK, node, verdicts, await heartbeat.NowAsync(cancel), cancel, await ProposedAsync(node, registrations, cancel));
    }

    private static async Task<string?> ProposedAsync(Node node, IRecordStore<Registration> registrations, CancellationToken cancel)
    {
        try
        {
            if (await registrations.FindAsync(node.Id.ToString(), cancel) is not { Value.Proposal: { ProvenAt: not null, AttestationKey: var key } } registration)
                return null;
            return await ApproveNode.TryFinishAsync(node, registration, registrations) ? null : KeyNames.Of(key);
        }
        catch (UnreadableRowException)
        {
            return null; // a registration that cannot be read proposes nothing
        }
    }
}
