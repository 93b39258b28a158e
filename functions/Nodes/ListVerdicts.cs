using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Nodes;

/// <summary><c>GET /v1/nodes/{id}/verdicts</c>: the history of a node, newest first.</summary>
internal static class ListVerdicts
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapGet("/v1/nodes/{id}/verdicts", HandleAsync).Under(
            new(Caller.Readers, ApiFamily.Own) { Scoped = Scoping.Node }, new("The history of a node, newest first.", null, ApiJson.Default.VerdictList) { Query = QueryParameters.Pages });

    private static async Task<IResult> HandleAsync(
        AgentId id, string? after, string? limit, HttpContext context, INodeStore nodes, IVerdictStore verdicts, CancellationToken cancel)
    {
        if (!Paging.TryRead(after, limit, out var start, out var count, out var refusal))
            return refusal;
        if (await nodes.FindAsync(id, context.Scope(), cancel) is null)
            return GetNode.NotFound(id);

        var page = await verdicts.ListAsync(id, start, count, cancel);
        return Answer.Json(StatusCodes.Status200OK,
            new VerdictList([.. page.Items.Select(verdict => verdict.Message)]) { Next = page.Next?.ToString() }, ApiJson.Default.VerdictList);
    }
}
