using Keylime.Attestation;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Policies;

/// <summary><c>PUT /v1/policies/{name}</c>: stores a runtime policy in Keylime's JSON. Nodes of that name are judged by it from their next attestation on.</summary>
internal static partial class PutPolicy
{
    private const int MaxTries = 3;

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapPut("/v1/policies/{name}", HandleAsync).Under(
            new(Caller.Operator, ApiFamily.Own, RouteRules.PolicyBody), new("Store a runtime policy in Keylime's JSON.", null, ApiJson.Default.PolicySummary));

    private static async Task<IResult> HandleAsync(
        string name, HttpContext context, IRecordStore<PolicyRecord> policies, IBlobStore blobs, IEventStore events, TimeProvider clock, ILogger<PolicyRecord> log, CancellationToken cancel)
    {
        if (!PolicyNames.IsValid(name))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_name", PolicyNames.Expected);
        if (!(await RequestBody.ReadJsonTextAsync(context, cancel)).TryGet(out var text, out var unread))
            return unread;
        if (!RuntimePolicy.TryParse(text, out var policy, out var error))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_policy", $"The body is no runtime policy: {error}");

        // The text first: a name that points to nothing would be worse than a text without a name.
        var digest = await blobs.PutAsync(text, cancel);
        var record = new PolicyRecord
        {
            Name = name,
            Digest = digest,
            Size = text.Length,
            Paths = policy.Paths,
            Excludes = policy.Excludes,
            Warnings = policy.Warnings,
            UpdatedAt = clock.GetUtcNow(),
        };
        for (var tries = 0; tries < MaxTries; tries++)
        {
            var stored = await policies.FindAsync(name, cancel);
            if (stored?.Value.Digest == digest)
            {
                await TellAsync(stored.Value); // what a crash may have left out
                return Answer.Json(StatusCodes.Status200OK, ListPolicies.Summary(stored.Value), ApiJson.Default.PolicySummary);
            }

            var done = stored is null ? await policies.TryAddAsync(record, cancel) : await policies.TryReplaceAsync(stored, record, cancel);
            if (!done)
                continue;
            LogPut(log, name, digest);
            await TellAsync(record);
            return Answer.Json(stored is null ? StatusCodes.Status201Created : StatusCodes.Status200OK, ListPolicies.Summary(record), ApiJson.Default.PolicySummary);
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this policy at this moment; try again.");

        Task TellAsync(PolicyRecord put) => events.AddAsync(
            EventRecord.OfPolicy(name, put.UpdatedAt, EventTypes.PolicyChanged, $"{context.CallerName()} put the policy: it is {digest} now, with {put.Paths} paths and {put.Excludes} excludes."), CancellationToken.None);
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "The policy {Name} is now {Digest}")]
    private static partial void LogPut(ILogger log, string name, string digest);
}
