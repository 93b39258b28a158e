using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Registrar;

/// <summary><c>DELETE /v2.x/agents/{id}</c>: forgets a registration. A node that was enrolled keeps the key that it was pinned with.</summary>
internal static class DeleteRegistration
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapDelete("/agents/{id}", HandleAsync).Under(
            new(Caller.Operator, ApiFamily.Registrar), new("Forget a registration.", null, UpstreamJson.Default.EnvelopeNoResults));

    private static async Task<IResult> HandleAsync(
        AgentId id, HttpContext context, IRecordStore<Registration> registrations, EndorsementClaims claims, IEventStore events, TimeProvider clock, CancellationToken cancel)
    {
        while (await registrations.FindAsync(id.ToString(), cancel) is { } stored)
        {
            // Told first: once the row has gone, nothing would remember it.
            await events.AddAsync(EventRecord.Of(id, clock.GetUtcNow(), EventTypes.RegistrationDeleted,
                $"{context.CallerName()} deletes the registration: from now on another TPM may claim the id."), cancel);
            if (!await registrations.TryDeleteAsync(stored, cancel))
                continue;
            await claims.ReleaseAsync(stored.Value, CancellationToken.None);
            return Answer.Envelope(StatusCodes.Status200OK, "Success");
        }

        return new Refusal(StatusCodes.Status404NotFound, "not_found", $"Agent with ID '{id}' not found");
    }
}
