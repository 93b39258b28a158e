using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol;

namespace Keylime.Functions.Nodes;

/// <summary>
/// <c>GET /v1/nodes/{id}/boot-log</c>, <c>/v1/nodes/{id}/measurement-list</c>: the last logs that a quote has proven, as the machine sent them; policies are made of them.
/// </summary>
internal static class GetEvidence
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/v1/nodes/{id}/boot-log", (AgentId id, HttpContext context, EvidenceHistory history, INodeStore nodes, CancellationToken cancel) =>
            HandleAsync(id, context, nodes, node => history.BootLogAsync(node, cancel), "boot log", cancel)).Under(
            new(Caller.Readers, ApiFamily.Own) { Scoped = Scoping.Node }, new("The last boot log that a quote has proven: binary_bios_measurements.") { RawAnswer = MediaTypes.OctetStream });
        routes.MapGet("/v1/nodes/{id}/measurement-list", (AgentId id, HttpContext context, EvidenceHistory history, INodeStore nodes, CancellationToken cancel) =>
            HandleAsync(id, context, nodes, node => history.ImaLinesAsync(node, cancel), "measurement list", cancel)).Under(
            new(Caller.Readers, ApiFamily.Own) { Scoped = Scoping.Node }, new("The measurement list of the last boot, as far as a quote has proven it: ascii_runtime_measurements.") { RawAnswer = MediaTypes.OctetStream });
    }

    private static async Task<IResult> HandleAsync(
        AgentId id, HttpContext context, INodeStore nodes, Func<Node, Task<ReadOnlyMemory<byte>?>> find, string what, CancellationToken cancel)
    {
        if (await nodes.FindAsync(id, context.Scope(), cancel) is not { Value: var node })
            return GetNode.NotFound(id);
        if (await find(node) is not { } bytes)
            return new Refusal(StatusCodes.Status404NotFound, "no_evidence", $"No {what} of '{id}' is kept: none was proven, or no policy asked for one.");
        context.Response.Headers.CacheControl = "no-store";
        return TypedResults.Bytes(bytes, MediaTypes.OctetStream);
    }
}
