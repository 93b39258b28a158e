using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Nodes;

/// <summary><c>GET /v1/nodes</c>: a page of nodes, of one state or of all.</summary>
internal static class ListNodes
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapGet("/v1/nodes", HandleAsync).Under(
            new(Caller.Readers, ApiFamily.Own) { Scoped = Scoping.Handler }, new("A page of nodes.", null, ApiJson.Default.NodeList) { Query = [QueryParameters.State, .. QueryParameters.Pages] });

    private static async Task<IResult> HandleAsync(
        string? state, string? after, string? limit, HttpContext context, INodeStore nodes, Heartbeat heartbeat, CancellationToken cancel)
    {
        if (!Paging.TryRead(after, limit, out var start, out var count, out var refusal))
            return refusal;
        NodeState? wanted = null;
        if (state is not null)
        {
            if (!TryParse(state, out var named))
            {
                return new Refusal(StatusCodes.Status400BadRequest, "invalid_query",
                    $"state is one of {string.Join(", ", Enum.GetNames<NodeState>()).ToLowerInvariant()}.");
            }

            wanted = named;
        }

        var now = await heartbeat.NowAsync(cancel);
        var page = await nodes.ListAsync(new NodeQuery(now, wanted), start, count, cancel);
        return Answer.Json(StatusCodes.Status200OK,
            new NodeList([.. page.Items.Where(context.Scope().Covers).Select(node => NodeViews.Summary(node, now))]) { Next = page.Next?.ToString() }, ApiJson.Default.NodeList);
    }

    private static bool TryParse(string text, out NodeState state) =>
        Enum.TryParse(text, ignoreCase: true, out state) && string.Equals(state.ToString(), text, StringComparison.OrdinalIgnoreCase);
}
