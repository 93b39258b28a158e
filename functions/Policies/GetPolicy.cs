using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Policies;

/// <summary><c>GET /v1/policies/{name}</c>: the text, as it was put; its digest is the <c>ETag</c>.</summary>
internal static class GetPolicy
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapGet("/v1/policies/{name}", HandleAsync).Under(new(Caller.Readers, ApiFamily.Own), new("A policy's text, as it was put."));

    private static async Task<IResult> HandleAsync(
        string name, HttpContext context, IRecordStore<PolicyRecord> policies, IBlobStore blobs, CancellationToken cancel)
    {
        if (!PolicyNames.IsValid(name))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_name", PolicyNames.Expected);
        if (await policies.FindAsync(name, cancel) is not { Value: var policy })
            return DeletePolicy.NotFound(name);
        if (await blobs.FindAsync(policy.Digest, cancel) is not { } text)
            return new Refusal(StatusCodes.Status500InternalServerError, "policy_damaged", $"The text of the policy '{name}' is not there, or is not what its digest says.")
            { Hint = "Put the policy again." };

        context.Response.Headers.ETag = $"\"{policy.Digest}\"";
        context.Response.Headers.CacheControl = "no-cache";
        return TypedResults.Bytes(text, MediaTypes.Json);
    }
}
