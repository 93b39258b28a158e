using System.Diagnostics;
using Keylime.Attestation;
using Keylime.Functions.Hosting;
using Keylime.Functions.Keys;
using Keylime.Functions.Storage;
using Keylime.Functions.Telemetry;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;
using Keylime.Tpm;

namespace Keylime.Functions.Verifier;

/// <summary><c>PATCH /v3.0/sessions/{session}</c>: a proof of possession of the pinned attestation key earns a token.</summary>
internal static partial class ProveSession
{
    private const int MaxTries = 5;

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapPatch("/sessions/{session}", HandleAsync).Under(
            new(Caller.Anyone, ApiFamily.Sessions, RouteRules.SessionBody),
            new("Prove possession of the attestation key; the answer has a token.", UpstreamJson.Default.DocumentSessionAttributes, UpstreamJson.Default.DocumentSessionAttributes));

    // The order is upstream's (keylime-wire 2A.2).
    private static async Task<IResult> HandleAsync(
        string session, HttpContext context, SessionIds sessions, IChallengeSource challenges, INodeStore nodes, IEventStore events, RateLimits limits,
        Instruments instruments, TimeProvider clock, ILogger<NodeSession> log, CancellationToken cancel)
    {
        if (limits.CheckFlood(context) is { } limited)
            return limited;
        if (!(await RequestBody.ReadJsonAsync(context, UpstreamJson.Default.DocumentSessionAttributes, cancel)).TryGet(out var request, out var unread))
            return limits.CheckAddress(context) ?? unread;

        var given = request.Data.Attributes;
        if (!AgentId.TryParse(given.AgentId, null, out var agent))
            return limits.CheckAddress(context) ?? Bad("agent_id is required");
        if (limits.CheckProof(context, agent) is { } tooMany)
            return tooMany;
        if (!sessions.TryRead(session, agent, out var id))
            return NotFound();
        if (id.Agent is null)
            return Bad("Agent ID mismatch");
        if (given.AuthenticationProvided is not [{ Data: { } proof }, ..])
            return Bad("authentication_provided must include the data of tpm_pop");

        var now = clock.GetUtcNow();
        var challenge = challenges.OfSession(id.Text);
        if (id.ExpiresAt <= now)
            return Say(StatusCodes.Status200OK, id, agent, challenge, proof, now, null, null);

        for (var tries = 0; tries < MaxTries; tries++)
        {
            var stored = await nodes.FindAsync(agent, cancel);
            if (stored is null or { Value.RetiredAt: not null } or { Value.Waiting: not null })
                return Say(StatusCodes.Status200OK, id, agent, challenge, proof, now, null, null);

            if (stored.Value.Session is { } last && id.IssuedAt <= last.IssuedAt)
                return NotFound(); // answered already, or a newer one was: each proof works once

            if (Check(stored.Value, challenge, proof) is { } finding)
            {
                LogRefused(log, agent, finding.Code);
                instruments.Session("refused");
                await events.AddAsync(EventRecord.OncePerMinute(agent, now, EventTypes.ProofRefused, $"A proof of possession was refused: {finding.Code}: {finding.Detail}"), cancel);
                return Say(StatusCodes.Status401Unauthorized, id, agent, challenge, proof, now, null, null);
            }

            var token = SessionTokens.Create(id);
            var expires = SessionTokens.ExpiresAt(stored.Value, now);
            var next = stored.Value with { Session = new NodeSession(id.IssuedAt, SessionTokens.Hash(token), expires) };
            if (await nodes.TryReplaceAsync(stored, next, cancel) is not null)
            {
                LogProven(log, agent);
                instruments.Session("proven");
                limits.Proven(context);
                return Say(StatusCodes.Status200OK, id, agent, challenge, proof, now, token, expires);
            }
        }

        throw new StorageUnavailableException($"The row of {agent} changed {MaxTries} times while a session was to be written.");
    }

    private static Finding? Check(Node node, byte[] challenge, AuthenticationProof proof)
    {
        if (!AttestationKey.TryCreate(PublicArea.Parse(node.AttestationKey.Span), out var key, out var refusal))
            return refusal;
        using (key)
            return Possession.Verify(key, challenge, proof.Message, proof.Signature);
    }

    private static Answer<Document<SessionAttributes>> Say(
        int status, SessionId id, AgentId agent, byte[] challenge, AuthenticationProof proof, DateTimeOffset now, string? token, DateTimeOffset? expires)
    {
        Debug.Assert(token is null || status == StatusCodes.Status200OK);
        var answer = new Document<SessionAttributes>(new Resource<SessionAttributes>("session", new SessionAttributes
        {
            AgentId = agent.ToString(),
            Evaluation = token is null ? "fail" : "pass",
            Token = token,
            Authentication =
            [
                new AuthenticationMethod(AuthenticationMethod.PopClass, AuthenticationMethod.TpmPopType)
                {
                    ChosenParameters = new AuthenticationParameters(challenge),
                    Data = proof,
                },
            ],
            CreatedAt = id.IssuedAt,
            ChallengesExpireAt = id.ExpiresAt,
            ResponseReceivedAt = now,
            TokenExpiresAt = expires,
        })
        { Id = id.Text });
        return Answer.Json(status, answer, UpstreamJson.Default.DocumentSessionAttributes, MediaTypes.JsonApi);
    }

    private static Refusal Bad(string detail) => new(StatusCodes.Status400BadRequest, "invalid_request", detail);

    private static Refusal NotFound() => new(StatusCodes.Status404NotFound, "not_found", "Session not found");

    [LoggerMessage(Level = LogLevel.Information, Message = "{Agent} proved possession of its key")]
    private static partial void LogProven(ILogger log, AgentId agent);

    [LoggerMessage(Level = LogLevel.Warning, Message = "A proof of possession for {Agent} was refused: {Code}")]
    private static partial void LogRefused(ILogger log, AgentId agent, string code);
}
