using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Nodes;

/// <summary><c>GET /v1/nodes/{id}/events</c>: what happened to a node, newest first. An id that is only registered has events too.</summary>
internal static class ListEvents
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapGet("/v1/nodes/{id}/events", HandleAsync).Under(new(Caller.Operator, ApiFamily.Own));

    private static async Task<IResult> HandleAsync(
        AgentId id, string? after, string? limit, INodeStore nodes, IRegistrationStore registrations, IEventStore events, CancellationToken cancel)
    {
        if (!Paging.TryRead(after, limit, out var start, out var count, out var refusal))
            return refusal;

        var page = await events.ListAsync(id, start, count, cancel);
        if (page.Items.Count == 0 && await nodes.FindAsync(id, cancel) is null && await registrations.FindAsync(id, cancel) is null)
            return GetNode.NotFound(id);
        return Answer.Json(StatusCodes.Status200OK,
            new EventList([.. page.Items.Select(e => new EventMessage(e.Key, e.At, e.Type, e.Node, e.Detail))]) { Next = page.Next?.ToString() },
            ApiJson.Default.EventList);
    }
}
