using System.Diagnostics.CodeAnalysis;
using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Policies;

/// <summary><c>/v1/policy-drafts</c>: texts that are tried against stored evidence before they judge anybody. A draft is named by its digest and by nothing else.</summary>
internal static class PolicyDraftRoutes
{
    private const int DefaultNodes = 10;
    private const int MaxNodes = 50;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/v1/policy-drafts", PutAsync).Under(
            new(Caller.Operator | Caller.Approver, ApiFamily.Own, RouteRules.PolicyBody) { Scoped = Scoping.Handler }, new("Keep a policy's text, to be tried.", null, ApiJson.Default.PolicyDraft) { RawRequest = [MediaTypes.Json] });
        routes.MapGet("/v1/policy-drafts/{hash}/trials", TryAsync).Under(
            new(Caller.Readers, ApiFamily.Own) { Scoped = Scoping.Handler }, new("What a draft would make of the last evidence of nodes.", null, ApiJson.Default.PolicyTrialList) { Query = [QueryParameters.Node, .. QueryParameters.Pages] });
    }

    private static async Task<IResult> PutAsync(HttpContext context, PolicyTexts texts, IBlobStore blobs, CancellationToken cancel)
    {
        if (!(await RequestBody.ReadJsonTextAsync(context, cancel)).TryGet(out var text, out var unread))
            return unread;
        var (pinned, reading, _) = await texts.ReadForUseAsync("", text, context.Scope(), cancel);
        if (reading is PolicyReading.Refused { Error: var error })
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_policy", $"The body is no policy: {error}");
        var digest = await blobs.PutAsync(pinned, cancel);
        return Answer.Json(StatusCodes.Status200OK, new PolicyDraft(digest, reading.Kind, reading.Warnings), ApiJson.Default.PolicyDraft);
    }

    private static async Task<IResult> TryAsync(
        string hash, string? node, string? after, string? limit, HttpContext context, CompiledPolicies compiled, INodeStore nodes, PolicyTrials trials, TimeProvider clock, CancellationToken cancel)
    {
        if (!TryRead(hash, after, limit, out var start, out var count, out var refusal))
            return refusal;
        if (await compiled.ReadAsync(hash, cancel) is not { } reading || reading is PolicyReading.Refused)
            return new Refusal(StatusCodes.Status404NotFound, "no_such_draft", $"There is no policy's text {hash}.") { Hint = "POST it to /v1/policy-drafts first." };

        if (node is not null)
        {
            if (!AgentId.TryParse(node, null, out var id) || await nodes.FindAsync(id, context.Scope(), cancel) is not { Value: var one })
                return new Refusal(StatusCodes.Status404NotFound, "no_such_node", "There is no node of that id.") { Hint = "keylime node list (GET /v1/nodes) tells which there are." };
            return Answer.Json(StatusCodes.Status200OK, new PolicyTrialList([await trials.TryAsync(one, reading, cancel)]), ApiJson.Default.PolicyTrialList);
        }

        var page = await nodes.ListAsync(new NodeQuery(Moment.Of(clock.GetUtcNow())), start, count, cancel);
        var tried = new List<PolicyTrial>();
        foreach (var member in page.Items.Where(n => n is { RetiredAt: null, Waiting: null } && context.Scope().Covers(n)))
            tried.Add(await trials.TryAsync(member, reading, cancel));
        return Answer.Json(StatusCodes.Status200OK, new PolicyTrialList(tried) { Next = page.Next?.ToString() }, ApiJson.Default.PolicyTrialList);
    }

    private static bool TryRead(string hash, string? after, string? limit, out Continuation? start, out int count, [NotNullWhen(false)] out Refusal? refusal)
    {
        if (!Paging.TryRead(after, limit ?? $"{DefaultNodes}", out start, out count, out refusal))
            return false;
        if (hash.Length != 64 || !hash.All(char.IsAsciiHexDigitLower))
            refusal = new Refusal(StatusCodes.Status400BadRequest, "invalid_query", "A draft is named by 64 digits of lower-case hex.");
        else if (count > MaxNodes)
            refusal = new Refusal(StatusCodes.Status400BadRequest, "invalid_query", $"limit is a number from 1 to {MaxNodes}.");
        return refusal is null;
    }
}
