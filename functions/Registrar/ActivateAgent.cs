using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;

namespace Keylime.Functions.Registrar;

/// <summary><c>PUT /v2.x/agents/{id}</c>: the agent has opened its credential, so both its keys are in one TPM.</summary>
internal static partial class ActivateAgent
{
    private const int MaxTries = 3;

    public static void Map(IEndpointRouteBuilder routes)
    {
        var rules = new RouteRules(Caller.Anyone, ApiFamily.Registrar, RouteRules.RegistrarBody, PlainHttp: true);
        routes.MapPut("/agents/{id}", HandleAsync).Under(rules);
        routes.MapMethods("/agents/{id}/activate", [HttpMethods.Put, HttpMethods.Post], HandleAsync).Under(rules);
    }

    private static async Task<IResult> HandleAsync(
        AgentId id, HttpContext context, IRegistrationStore registrations, IEventStore events, RateLimits limits,
        TimeProvider clock, ILogger<Registration> log, CancellationToken cancel)
    {
        if (limits.CheckAddress(context) is { } limited)
            return limited;
        if (!(await RequestBody.ReadJsonAsync(context, UpstreamJson.Default.ActivateRequest, cancel)).TryGet(out var request, out var unread))
            return unread;
        if (request.AuthTag is not { } tag)
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_request", "auth_tag is required");

        for (var tries = 0; tries < MaxTries; tries++)
        {
            if (await registrations.FindAsync(id, cancel) is not { Value: var registration } stored)
                return new Refusal(StatusCodes.Status404NotFound, "not_found", $"Agent with ID '{id}' not found");

            var right = ActivationTag.Matches(tag, registration.ExpectedTagHash.Span);
            if (registration.Active)
                return right ? Done() : await RefuseActiveAsync(id, events, clock, log, cancel);

            // One try: whoever fails it starts again with a new credential, so nothing can be guessed.
            var done = right
                ? await registrations.TryReplaceAsync(stored, registration with { Active = true }, cancel)
                : await registrations.TryDeleteAsync(stored, cancel);
            if (!done)
                continue;

            LogAnswered(log, id, right);
            if (right)
                return Done();
            await TellAsync(id, "A wrong activation tag; the registration, which was never active, is deleted.", events, clock, cancel);
            return Refuse($"Auth tag for agent '{id}' does not match expected value. The agent has been deleted from the database and will need to be restarted to reattempt registration");
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", $"The registration of '{id}' changes at this moment; try again.");
    }

    // Upstream deletes the record here, and with it the pin of the identity: anybody could put a node out of work, or take over its id.
    private static async Task<IResult> RefuseActiveAsync(AgentId id, IEventStore events, TimeProvider clock, ILogger log, CancellationToken cancel)
    {
        LogAnswered(log, id, false);
        await TellAsync(id, "A wrong activation tag for an active registration; nothing was changed.", events, clock, cancel);
        return Refuse($"Auth tag for agent '{id}' does not match expected value.");
    }

    private static Task TellAsync(AgentId id, string detail, IEventStore events, TimeProvider clock, CancellationToken cancel) =>
        events.AddAsync(NodeEvent.OncePerMinute(id, clock.GetUtcNow(), EventTypes.ActivationFailed, detail), cancel);

    private static Answer<Envelope<NoResults>> Done() => Answer.Envelope(StatusCodes.Status200OK, "Success");

    private static Refusal Refuse(string detail) => new(StatusCodes.Status400BadRequest, "wrong_tag", detail);

    [LoggerMessage(Level = LogLevel.Information, Message = "Activation of {Agent}: right={Right}")]
    private static partial void LogAnswered(ILogger log, AgentId agent, bool right);
}
