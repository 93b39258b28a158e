using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Registrar;

/// <summary><c>DELETE /v2.x/agents/{id}</c>: forgets a registration. A node that was enrolled keeps the key that it was pinned with.</summary>
internal static class DeleteRegistration
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapDelete("/agents/{id}", HandleAsync).Under(new(Caller.Operator, ApiFamily.Registrar));

    private static async Task<IResult> HandleAsync(
        AgentId id, IRegistrationStore registrations, IEventStore events, TimeProvider clock, CancellationToken cancel)
    {
        while (await registrations.FindAsync(id, cancel) is { } stored)
        {
            if (!await registrations.TryDeleteAsync(stored, cancel))
                continue;
            await events.AddAsync(NodeEvent.Of(id, clock.GetUtcNow(), EventTypes.RegistrationDeleted,
                "An operator deleted the registration: from now on another TPM may claim the id."), cancel);
            return Answer.Envelope(StatusCodes.Status200OK, "Success");
        }

        return new Refusal(StatusCodes.Status404NotFound, "not_found", $"Agent with ID '{id}' not found");
    }
}
