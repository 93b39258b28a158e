using System.Text.Json;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;

namespace Keylime.Functions.Registrar;

/// <summary><c>GET /v2.x/agents/{id}</c>: one activated registration.</summary>
internal static class GetRegistration
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapGet("/agents/{id}", HandleAsync).Under(
            new(Caller.Readers, ApiFamily.Registrar), new("One activated registration.", null, UpstreamJson.Default.EnvelopeRegisteredAgentResults));

    private static async Task<IResult> HandleAsync(AgentId id, IRecordStore<Registration> registrations, CancellationToken cancel)
    {
        if (await registrations.FindAsync(id.ToString(), cancel) is not { Value: var registration })
            return new Refusal(StatusCodes.Status404NotFound, "not_found", $"Agent with ID '{id}' not found");
        if (!registration.Active)
            return new Refusal(StatusCodes.Status404NotFound, "not_activated", $"Agent with ID '{id}' has not been activated");

        using var port = registration.Port is { } text ? JsonDocument.Parse(text) : null;
        var results = new RegisteredAgentResults
        {
            AgentId = id.ToString(),
            EkTpm = registration.EndorsementKey.ToArray(),
            Ekcert = registration.EndorsementCertificate.IsEmpty ? null : registration.EndorsementCertificate.ToArray(),
            AikTpm = registration.AttestationKey.ToArray(),
            MtlsCert = registration.MtlsCertificate,
            Ip = registration.Ip,
            Port = port?.RootElement.Clone(),
            Regcount = registration.Registrations,
        };
        return Answer.Json(StatusCodes.Status200OK,
            new Envelope<RegisteredAgentResults>(StatusCodes.Status200OK, "Success", results), UpstreamJson.Default.EnvelopeRegisteredAgentResults);
    }
}
