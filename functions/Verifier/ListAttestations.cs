using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;

namespace Keylime.Functions.Verifier;

/// <summary><c>GET /v3.0/agents/{id}/attestations</c>: the judged attestations and the open one, newest first.</summary>
internal static class ListAttestations
{
    private const int PageSize = 100;

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapGet("/agents/{id}/attestations", HandleAsync).Under(
            new(Caller.Agent | Caller.Readers, ApiFamily.Attestations) { Scoped = Scoping.Node }, new("The attestations of an agent, newest first.", null, UpstreamJson.Default.ListDocumentAttestationAttributes)
            {
                Query = [QueryParameters.After],
            });

    private static async Task<IResult> HandleAsync(
        AgentId id, string? after, HttpContext context, INodeStore nodes, IVerdictStore verdicts, CancellationToken cancel)
    {
        if ((context.Features.Get<Stored<Node>>() ?? await nodes.FindAsync(id, cancel)) is not { Value: var node })
            return new Refusal(StatusCodes.Status404NotFound, "not_found", $"No enrolled agent with ID '{id}'.");
        if (!Continuation.TryParse(after, out var start))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_request", "after is not what an earlier page gave.");

        var page = await verdicts.ListAsync(id, start, PageSize, cancel);
        var judged = page.Items.Select(Attestations.Judged);
        var waiting = start is null && node.Open is { InAdvance: false } open && page.Items.All(v => v.Message.Attestation != open.Number)
            ? [Attestations.Waiting(node, open)]
            : Array.Empty<Resource<AttestationAttributes>>();
        var self = $"/v3.0/agents/{id}/attestations";
        return Answer.Json(StatusCodes.Status200OK,
            new ListDocument<AttestationAttributes>([.. waiting, .. judged])
            {
                Links = new DocumentLinks { Self = self, Next = page.Next is { } next ? $"{self}?after={next}" : null },
                Jsonapi = JsonApiVersion.Current,
            },
            UpstreamJson.Default.ListDocumentAttestationAttributes, MediaTypes.JsonApi);
    }
}
