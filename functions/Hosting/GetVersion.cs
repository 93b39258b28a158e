using Keylime.Protocol;
using Keylime.Protocol.Upstream;

namespace Keylime.Functions.Hosting;

/// <summary><c>GET /version</c> and the roots: which of Keylime's API versions are spoken here.</summary>
internal static class GetVersion
{
    private static readonly VersionResults Versions = new("2.6", ["2.0", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "3.0"]);

    public static void Map(IEndpointRouteBuilder routes)
    {
        var rules = new RouteRules(Caller.Anyone, ApiFamily.Registrar, PlainHttp: true);
        var doc = new RouteDoc("Which of Keylime's API versions are spoken here.", null, UpstreamJson.Default.EnvelopeVersionResults);
        routes.MapGet("/version", Handle).Under(rules, doc);
        routes.MapGet("/versions", Handle).Under(rules, doc);
        foreach (var root in (string[])["/", "/v2.6", "/v3", "/v3.0"])
            routes.MapGet(root, Nothing).Under(rules, new("Nothing, so that a client sees the version is there."));
    }

    private static Answer<Envelope<VersionResults>> Handle() => Answer.Json(
        StatusCodes.Status200OK, new Envelope<VersionResults>(StatusCodes.Status200OK, "Success", Versions), UpstreamJson.Default.EnvelopeVersionResults);

    private static Microsoft.AspNetCore.Http.HttpResults.Ok Nothing() => TypedResults.Ok();
}
