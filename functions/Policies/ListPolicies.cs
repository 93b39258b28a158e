using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Policies;

/// <summary><c>GET /v1/policies</c>: a page of policies, by name.</summary>
internal static class ListPolicies
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapGet("/v1/policies", HandleAsync).Under(new(Caller.Readers, ApiFamily.Own) { Scoped = Scoping.Handler }, new("A page of policies, by name.", null, ApiJson.Default.PolicyList) { Query = QueryParameters.Pages });

    public static PolicySummary Summary(PolicyRecord policy) => new()
    {
        Name = policy.Name,
        Kind = policy.Kind,
        Group = policy.Group,
        Digest = policy.Digest,
        Size = policy.Size,
        Paths = policy.Paths,
        Excludes = policy.Excludes,
        Warnings = policy.Warnings,
        UpdatedAt = policy.UpdatedAt,
        Signers = policy.Versions is [var newest, ..] ? newest.Signers : [],
        ProposedDigest = policy.Proposed?.Digest,
        ProposedBy = policy.Proposed?.PutBy,
    };

    private static async Task<IResult> HandleAsync(string? after, string? limit, HttpContext context, IRecordStore<PolicyRecord> policies, CancellationToken cancel)
    {
        if (!Paging.TryRead(after, limit, out var start, out var count, out var refusal))
            return refusal;
        var page = await policies.ListAsync(start, count, cancel);
        return Answer.Json(StatusCodes.Status200OK,
            new PolicyList([.. page.Items.Where(context.Scope().MayUse).Select(Summary)]) { Next = page.Next?.ToString() }, ApiJson.Default.PolicyList);
    }
}
