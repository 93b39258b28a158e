using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;

namespace Keylime.Functions.Registrar;

/// <summary><c>GET /v2.x/agents</c>: the ids of all registrations, active or not.</summary>
internal static class ListRegistrations
{
    private const int PageSize = 1000;

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapGet("/agents", HandleAsync).Under(
            new(Caller.Readers, ApiFamily.Registrar), new("The ids of all registrations, active or not.", null, UpstreamJson.Default.EnvelopeRegisteredAgentsResults));

    private static async Task<IResult> HandleAsync(IRecordStore<Registration> registrations, CancellationToken cancel)
    {
        var ids = new List<string>(); // upstream's answer has no pages
        Continuation? after = null;
        do
        {
            var page = await registrations.ListKeysAsync(after, PageSize, cancel);
            ids.AddRange(page.Items);
            after = page.Next;
        }
        while (after is not null);

        return Answer.Json(StatusCodes.Status200OK,
            new Envelope<RegisteredAgentsResults>(StatusCodes.Status200OK, "Success", new RegisteredAgentsResults(ids)),
            UpstreamJson.Default.EnvelopeRegisteredAgentsResults);
    }
}
