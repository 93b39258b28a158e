using Keylime.Functions.Hosting;
using Keylime.Functions.Nodes;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;

namespace Keylime.Functions.Registrar;

/// <summary><c>PUT /v2.x/agents/{id}</c>: the agent has opened its credential, so both its keys are in one TPM. Now rules may admit it.</summary>
internal static partial class ActivateAgent
{
    private const int MaxTries = 3;

    public static void Map(IEndpointRouteBuilder routes)
    {
        var rules = new RouteRules(Caller.Anyone, ApiFamily.Registrar, RouteRules.RegistrarBody, PlainHttp: true);
        var doc = new RouteDoc("Show that the credential was opened.", UpstreamJson.Default.ActivateRequest, UpstreamJson.Default.EnvelopeNoResults);
        routes.MapPut("/agents/{id}", HandleAsync).Under(rules, doc);
        routes.MapMethods("/agents/{id}/activate", [HttpMethods.Put, HttpMethods.Post], HandleAsync).Under(rules, doc);
    }

    /// <summary>What the handler works with.</summary>
    internal sealed record Dependencies(
        IRecordStore<Registration> Registrations, EndorsementClaims Claims, IEventStore Events, Admission Admission,
        RateLimits Limits, TimeProvider Clock, ILogger<Registration> Log);

    private static async Task<IResult> HandleAsync(AgentId id, HttpContext context, Dependencies use, CancellationToken cancel)
    {
        if (use.Limits.CheckRegistration(context, id) is { } limited)
            return limited;
        if (!(await RequestBody.ReadJsonAsync(context, UpstreamJson.Default.ActivateRequest, cancel)).TryGet(out var request, out var unread))
            return unread;
        if (request.AuthTag is not { } tag)
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_request", "auth_tag is required");

        for (var tries = 0; tries < MaxTries; tries++)
        {
            if (await use.Registrations.FindAsync(id.ToString(), cancel) is not { Value: var registration } stored)
                return new Refusal(StatusCodes.Status404NotFound, "not_found", $"Agent with ID '{id}' not found");

            if (((KeyProposal?[])[registration.Proposal, registration.Offer]).FirstOrDefault(p => p is not null && ActivationTag.Matches(tag, p.ExpectedTagHash.Span)) is { } proposal)
            {
                if (!await TryProveAsync(stored, proposal, use, cancel))
                    continue;
                use.Limits.Proven(context);
                return Done();
            }

            if (!ActivationTag.Matches(tag, registration.ExpectedTagHash.Span))
            {
                if (registration.Active)
                    return await RefuseActiveAsync(id, use, cancel);

                // One try: whoever fails it starts again with a new credential, so nothing can be guessed.
                if (!await use.Registrations.TryDeleteAsync(stored, cancel))
                    continue;
                LogAnswered(use.Log, id, false);
                await TellAsync(id, "A wrong activation tag; the registration, which was never active, is deleted.", use, cancel);
                return Refuse($"Auth tag for agent '{id}' does not match expected value. The agent has been deleted from the database and will need to be restarted to reattempt registration");
            }

            if (await use.Claims.ClaimAsync(registration, cancel) is { } rival)
                return await RegisterAgent.DuplicateAsync(id, rival, use.Events, use.Clock.GetUtcNow(), cancel);
            var active = registration.Active ? registration : registration with { Active = true, ActivatedAt = use.Clock.GetUtcNow() };
            if (!registration.Active && !await use.Registrations.TryReplaceAsync(stored, active, cancel))
                continue;

            // From here on everything follows from the row: whoever comes again does what a crash left undone.
            LogAnswered(use.Log, id, true);
            use.Limits.Proven(context);
            await use.Events.AddAsync(EventRecord.Of(id, active.ActivatedAt ?? active.RegisteredAt, EventTypes.Registered,
                $"A TPM proved that it holds both keys of this id. Identity: {IdentityNames.Of(active.Identity)}. {active.IdentityDetail}"), CancellationToken.None);
            await use.Admission.ConsiderAsync(active, CancellationToken.None);
            return Done();
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", $"The registration of '{id}' changes at this moment; try again.");
    }

    // The key that was approved stays in its place; the other one waits beside it.
    private static async Task<bool> TryProveAsync(Stored<Registration> stored, KeyProposal proposal, Dependencies use, CancellationToken cancel)
    {
        // The same key again is the same proposal, of the same time.
        var before = stored.Value.Proposal is { } known && known.AttestationKey.Span.SequenceEqual(proposal.AttestationKey.Span) ? known.ProvenAt : null;
        var proven = proposal with { ProvenAt = before ?? use.Clock.GetUtcNow() };
        if (proposal.ProvenAt is null && !await use.Registrations.TryReplaceAsync(stored, stored.Value with { Proposal = proven, Offer = null }, cancel))
            return false;
        await use.Events.AddAsync(EventRecord.Of(stored.Value.Id, proven.ProvenAt!.Value, EventTypes.KeyChangeProposed,
            $"The same TPM proved another attestation key, {KeyNames.Of(proven.AttestationKey)}. The old one stays in force until somebody approves this one."), CancellationToken.None);
        return true;
    }

    // Upstream deletes the record here, and with it the pin of the identity: anybody could put a node out of work, or take over its id.
    private static async Task<IResult> RefuseActiveAsync(AgentId id, Dependencies use, CancellationToken cancel)
    {
        LogAnswered(use.Log, id, false);
        await TellAsync(id, "A wrong activation tag for an active registration; nothing was changed.", use, cancel);
        return Refuse($"Auth tag for agent '{id}' does not match expected value.");
    }

    private static Task TellAsync(AgentId id, string detail, Dependencies use, CancellationToken cancel) =>
        use.Events.AddAsync(EventRecord.OncePerMinute(id, use.Clock.GetUtcNow(), EventTypes.ActivationFailed, detail), cancel);

    private static Answer<Envelope<NoResults>> Done() => Answer.Envelope(StatusCodes.Status200OK, "Success");

    private static Refusal Refuse(string detail) => new(StatusCodes.Status400BadRequest, "wrong_tag", detail);

    [LoggerMessage(Level = LogLevel.Information, Message = "Activation of {Agent}: right={Right}")]
    private static partial void LogAnswered(ILogger log, AgentId agent, bool right);
}
