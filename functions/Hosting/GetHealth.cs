using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Hosting;

/// <summary><c>GET /health</c>: whether the store answers.</summary>
internal static class GetHealth
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapGet("/health", HandleAsync).Under(new(Caller.Anyone, ApiFamily.Own), new("Whether the store answers.", null, ApiJson.Default.Health) { OrStatus = StatusCodes.Status503ServiceUnavailable });

    private static async Task<IResult> HandleAsync(IStoreHealth store, CancellationToken cancel)
    {
        try
        {
            await store.CheckAsync(cancel);
            return Answer.Json(StatusCodes.Status200OK, new Health("ok", ServiceVersion.Text, store.Name), ApiJson.Default.Health);
        }
        catch (StorageUnavailableException)
        {
            return Answer.Json(StatusCodes.Status503ServiceUnavailable, new Health("unavailable", ServiceVersion.Text, store.Name), ApiJson.Default.Health);
        }
    }
}
