using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Policies;

/// <summary><c>GET /v1/policies/{name}/versions</c>: the texts that were in force under a name, newest first.</summary>
internal static class ListPolicyVersions
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapGet("/v1/policies/{name}/versions", HandleAsync).Under(
            new(Caller.Readers, ApiFamily.Own) { Scoped = Scoping.Handler }, new("The texts that were in force under a name, newest first.", null, ApiJson.Default.PolicyVersionList));

    private static async Task<IResult> HandleAsync(string name, HttpContext context, IRecordStore<PolicyRecord> policies, CancellationToken cancel)
    {
        if (!PolicyNames.IsValid(name))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_name", PolicyNames.Expected);
        return await policies.FindAsync(name, context.Scope(), cancel) is { Value: var policy }
            ? Answer.Json(StatusCodes.Status200OK, new PolicyVersionList(policy.Versions), ApiJson.Default.PolicyVersionList)
            : DeletePolicy.NotFound(name);
    }
}
