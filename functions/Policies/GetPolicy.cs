using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Policies;

/// <summary><c>GET /v1/policies/{name}</c>: the text, as it was put; its digest is the <c>ETag</c>.</summary>
internal static class GetPolicy
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapGet("/v1/policies/{name}", HandleAsync).Under(
            new(Caller.Readers, ApiFamily.Own) { Scoped = Scoping.Handler }, new("A policy's text, as it was put: the one in force, or ?digest=.") { RawAnswer = MediaTypes.Json, Query = [QueryParameters.Digest] });

    private static async Task<IResult> HandleAsync(
        string name, string? digest, HttpContext context, IRecordStore<PolicyRecord> policies, IBlobStore blobs, CancellationToken cancel)
    {
        if (!PolicyNames.IsValid(name))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_name", PolicyNames.Expected);
        if (await policies.FindAsync(name, context.Scope(), cancel) is not { Value: var policy })
            return DeletePolicy.NotFound(name);

        // One of this name's own texts: blobs that are something else are not read out here.
        var asked = digest ?? policy.Digest ?? policy.Proposed?.Digest;
        if (asked is null || asked != policy.Digest && asked != policy.Proposed?.Digest && policy.Versions.All(v => v.Digest != asked))
            return new Refusal(StatusCodes.Status404NotFound, "no_such_version", $"The policy '{name}' has no text of that digest.") { Hint = $"keylime policy versions {name} tells which there are." };
        if (await blobs.FindAsync(asked, cancel) is not { } text)
            return new Refusal(StatusCodes.Status500InternalServerError, "policy_damaged", $"The text of the policy '{name}' is not there, or is not what its digest says.")
            { Hint = "Put the policy again." };

        context.Response.Headers.ETag = $"\"{asked}\"";
        context.Response.Headers.CacheControl = "no-cache";
        return TypedResults.Bytes(text, MediaTypes.Json);
    }
}
