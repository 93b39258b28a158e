using Keylime.Functions.Hosting;
using Keylime.Functions.Keys;
using Keylime.Functions.Telemetry;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;

namespace Keylime.Functions.Verifier;

/// <summary>
/// <c>POST /v3.0/sessions</c>: a challenge for whoever asks, known or not, so that nobody learns who is enrolled. Nothing is stored.
/// </summary>
internal static class OpenSession
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapPost("/sessions", HandleAsync).Under(
            new(Caller.Anyone, ApiFamily.Sessions, RouteRules.SessionBody),
            new("Ask for a challenge.", UpstreamJson.Default.DocumentSessionAttributes, UpstreamJson.Default.DocumentSessionAttributes));

    private static async Task<IResult> HandleAsync(
        HttpContext context, SessionIds sessions, IChallengeSource challenges, RateLimits limits, Instruments instruments, TimeProvider clock, CancellationToken cancel)
    {
        if (limits.CheckFlood(context) is { } limited)
            return limited;
        if (!(await RequestBody.ReadJsonAsync(context, UpstreamJson.Default.DocumentSessionAttributes, cancel)).TryGet(out var request, out var unread))
            return limits.CheckAddress(context) ?? unread;

        var asked = request.Data.Attributes;
        if (!AgentId.TryParse(asked.AgentId, null, out var agent))
            return limits.CheckAddress(context) ?? Bad(asked.AgentId is null ? "agent_id is required" : "agent_id is no agent id: 1 to 80 of A-Z a-z 0-9 _ . - are expected");
        if (limits.CheckSession(context, agent) is { } tooMany)
            return tooMany;
        if (asked.AuthenticationSupported?.Any(IsPossession) != true)
            return Bad("authentication_supported must include tpm_pop authentication type");

        var session = sessions.Issue(agent, clock.GetUtcNow());
        instruments.Session("opened");
        var answer = new Document<SessionAttributes>(new Resource<SessionAttributes>("session", new SessionAttributes
        {
            AgentId = agent.ToString(),
            AuthenticationRequested =
            [
                new AuthenticationMethod(AuthenticationMethod.PopClass, AuthenticationMethod.TpmPopType)
                {
                    ChosenParameters = new AuthenticationParameters(challenges.OfSession(session.Text)),
                },
            ],
            CreatedAt = session.IssuedAt,
            ChallengesExpireAt = session.ExpiresAt,
        })
        { Id = session.Text });
        return Answer.Json(StatusCodes.Status200OK, answer, UpstreamJson.Default.DocumentSessionAttributes, MediaTypes.JsonApi);
    }

    private static bool IsPossession(AuthenticationMethod method) =>
        method is { AuthenticationClass: AuthenticationMethod.PopClass, AuthenticationType: AuthenticationMethod.TpmPopType };

    private static Refusal Bad(string detail) => new(StatusCodes.Status400BadRequest, "invalid_request", detail);
}
