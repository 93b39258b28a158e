using System.Globalization;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Verifier;

/// <summary><c>GET /v3.0/agents/{id}/attestations/{number}</c>: one attestation, or the latest.</summary>
internal static class GetAttestation
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapGet("/agents/{id}/attestations/{number}", HandleAsync).Under(
            new(Caller.Agent | Caller.Readers, ApiFamily.Attestations) { Scoped = Scoping.Node }, new("One attestation, or the latest.", null, UpstreamJson.Default.DocumentAttestationAttributes));

    private static async Task<IResult> HandleAsync(
        AgentId id, string number, HttpContext context, INodeStore nodes, IVerdictStore verdicts, CancellationToken cancel)
    {
        if ((context.Features.Get<Stored<Node>>() ?? await nodes.FindAsync(id, cancel)) is not { Value: var node })
            return new Refusal(StatusCodes.Status404NotFound, "not_found", $"No enrolled agent with ID '{id}'.");

        long asked;
        if (number == "latest")
            asked = node.NextAttestation - 1;
        else if (!long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out asked))
            return Attestations.NotFound(id, "of that number");

        if (await verdicts.FindAsync(id, asked, cancel) is { } verdict)
            return Attestations.Answer(StatusCodes.Status200OK, Attestations.Judged(verdict));
        if (number == "latest" && node is { Open.InAdvance: true, Last.Attestation: var last } && await verdicts.FindAsync(id, last, cancel) is { } judged)
            return Attestations.Answer(StatusCodes.Status200OK, Attestations.Judged(judged)); // nobody has begun the one that was asked in advance
        return node.Open is { } open && open.Number == asked
            ? Attestations.Answer(StatusCodes.Status200OK, Attestations.Waiting(node, open))
            : Attestations.NotFound(id, number);
    }
}
