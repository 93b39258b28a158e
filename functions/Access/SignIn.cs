using Keylime.Functions.Hosting;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Access;

/// <summary><c>GET /v1/sign-in</c>: where tokens are to be had, so that who signs in need not know. Nothing of it is secret.</summary>
internal static class SignIn
{
    public static void Map(IEndpointRouteBuilder routes) => routes.MapGet("/v1/sign-in", Handle).Under(
        new(Caller.Anyone, ApiFamily.Own), new("Where people and programs get a token for this service.", null, ApiJson.Default.SignInMessage));

    private static Answer<SignInMessage> Handle(ServiceOptions options) =>
        Answer.Json(StatusCodes.Status200OK, new SignInMessage { Entra = Entra(options) }, ApiJson.Default.SignInMessage);

    private static EntraSignIn? Entra(ServiceOptions options)
    {
        var client = options.EntraClient ?? options.EntraAudiences.FirstOrDefault(static a => Guid.TryParse(a, out _));
        return options is { EntraTenant: { } tenant, EntraAudiences: [var audience, ..] } && client is not null
            ? new EntraSignIn(options.EntraAuthority, tenant, client, audience + "/.default")
            : null;
    }
}
