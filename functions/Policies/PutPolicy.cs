using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Policies;

/// <summary>
/// <c>PUT /v1/policies/{name}</c>: stores a policy's text, for what runs or for what boots, in Keylime's JSON or ours, bare or signed. Nodes of that name are
/// judged by it from their next attestation on; where approval is required, once somebody else has approved it.
/// </summary>
internal static partial class PutPolicy
{
    private const int MaxTries = 3;

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapPut("/v1/policies/{name}", HandleAsync).Under(
            new(Caller.Operator, ApiFamily.Own, RouteRules.PolicyBody), new("Store a runtime or boot policy, bare or signed (DSSE).", null, ApiJson.Default.PolicySummary, StatusCodes.Status201Created)
            {
                OrStatus = StatusCodes.Status200OK,
                RawRequest = [MediaTypes.Json],
            });

    /// <summary>What the handler works with.</summary>
    internal sealed record Dependencies(
        IRecordStore<PolicyRecord> Policies, PolicyTexts Texts, CompiledForms Forms, IBlobStore Blobs, IEventStore Events, ServiceOptions Options, TimeProvider Clock, ILogger<PolicyRecord> Log);

    private static async Task<IResult> HandleAsync(string name, HttpContext context, Dependencies use, CancellationToken cancel)
    {
        if (!PolicyNames.IsValid(name))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_name", PolicyNames.Expected);
        if (!(await RequestBody.ReadJsonTextAsync(context, cancel)).TryGet(out var body, out var unread))
            return unread;
        var (text, reading, seal) = await use.Texts.ReadForUseAsync(name, body, cancel);
        if (reading is PolicyReading.Refused { Error: var error })
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_policy", $"The body is no policy: {error}");

        // The text first: a name that points to nothing would be worse than a text without a name.
        var digest = await use.Blobs.PutAsync(text, cancel);
        if (reading is PolicyReading.Runtime { Policy: var compiled })
            await use.Forms.KeepAsync(digest, text.Length, compiled, seal, cancel);
        for (var tries = 0; tries < MaxTries; tries++)
        {
            var stored = await use.Policies.FindAsync(name, cancel);
            if (stored?.Value.Kind is { } kind && kind != reading.Kind)
            {
                return new Refusal(StatusCodes.Status409Conflict, "other_kind", $"'{name}' is a {kind.ToString().ToLowerInvariant()} policy, and this text is none.")
                { Hint = "Put it under another name." };
            }

            if (stored is not null && (stored.Value.Digest == digest && stored.Value.Proposed is null || stored.Value.Proposed?.Digest == digest))
            {
                await TellAsync(use.Events, stored.Value, cancel); // what a crash may have left out
                return Answered(StatusCodes.Status200OK, stored.Value);
            }

            var next = Next(stored?.Value, name, digest, text.Length, reading, context.CallerName(), use);
            if (stored is not null)
                await TellAsync(use.Events, stored.Value, cancel); // once it is replaced, nothing would remember what a crash left out
            if (!(stored is null ? await use.Policies.TryAddAsync(next, cancel) : await use.Policies.TryReplaceAsync(stored, next, cancel)))
                continue;
            LogPut(use.Log, name, digest);
            await TellAsync(use.Events, next, CancellationToken.None);
            return Answered(stored is null ? StatusCodes.Status201Created : StatusCodes.Status200OK, next);
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this policy at this moment; try again.");
    }

    private static PolicyRecord Next(PolicyRecord? known, string name, string digest, long size, PolicyReading reading, string by, Dependencies use)
    {
        var now = use.Clock.GetUtcNow();
        var (paths, excludes) = reading is PolicyReading.Runtime { Policy: var runtime } ? (runtime.Paths, runtime.Excludes) : (0, 0);
        var put = new ProposedPolicy(digest, size, paths, excludes, reading.Warnings, now, by, reading.Signers);
        var record = known ?? new PolicyRecord { Name = name, Kind = reading.Kind, Digest = null, Size = 0, Paths = 0, Excludes = 0, Warnings = [], UpdatedAt = now };
        return use.Options.RequirePolicyApproval
            ? record with { Schema = PolicyRecord.CurrentSchema, Proposed = put }
            : record.InForce(put, null, now);
    }

    /// <summary>Tells what the row says, with the row's own time: however often it is told, it is there once.</summary>
    public static Task TellAsync(IEventStore events, PolicyRecord policy, CancellationToken cancel) => policy.Proposed is { } proposed
        ? events.AddAsync(EventRecord.OfPolicy(policy.Name, proposed.PutAt, EventTypes.PolicyProposed, $"{proposed.PutBy} put the text {proposed.Digest}; it waits for approval."), cancel)
        : ApprovePolicyRoute.TellAsync(events, policy, cancel);

    private static Answer<Keylime.Protocol.Api.PolicySummary> Answered(int status, PolicyRecord policy) => Answer.Json(status, ListPolicies.Summary(policy), ApiJson.Default.PolicySummary);

    [LoggerMessage(Level = LogLevel.Information, Message = "The policy {Name} was put: {Digest}")]
    private static partial void LogPut(ILogger log, string name, string digest);
}
