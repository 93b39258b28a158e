using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

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
            new(Caller.Operator, ApiFamily.Own, RouteRules.PolicyBody) { Scoped = Scoping.Handler }, new("Store a runtime or boot policy, bare or signed (DSSE).", null, ApiJson.Default.PolicySummary, StatusCodes.Status201Created)
            {
                OrStatus = StatusCodes.Status200OK,
                RawRequest = [MediaTypes.Json],
                Query = [QueryParameters.Group],
            });

    /// <summary>What the handler works with.</summary>
    internal sealed record Dependencies(
        IRecordStore<PolicyRecord> Policies, PolicyPins Pins, INodeStore Nodes, PolicyTexts Texts, CompiledForms Forms, IBlobStore Blobs, IEventStore Events, ServiceOptions Options, TimeProvider Clock, ILogger<PolicyRecord> Log);

    private static async Task<IResult> HandleAsync(string name, string? group, HttpContext context, Dependencies use, CancellationToken cancel)
    {
        if (!PolicyNames.IsValid(name))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_name", PolicyNames.Expected);
        if (group is { Length: > 0 } && !AgentId.TryParse(group, null, out _))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_query", "group: 1 to 80 of A-Z a-z 0-9 _ . - are expected, or nothing for a policy that all share.");
        if (!(await RequestBody.ReadJsonTextAsync(context, cancel)).TryGet(out var body, out var unread))
            return unread;
        var (text, reading, seal) = await use.Texts.ReadForUseAsync(name, body, context.Scope(), cancel);
        if (reading is PolicyReading.Refused { Error: var error })
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_policy", $"The body is no policy: {error}");

        // The text first: a name that points to nothing would be worse than a text without a name.
        var digest = await use.Blobs.PutAsync(text, cancel);
        if (reading is PolicyReading.Runtime { Policy: var compiled })
            await use.Forms.KeepAsync(digest, text.Length, compiled, seal, cancel);
        for (var tries = 0; tries < MaxTries; tries++)
        {
            var stored = await use.Policies.FindAsync(name, cancel);
            var owner = group is null ? stored?.Value.Group : group.Length == 0 ? null : group;
            if (Objection(name, stored?.Value, owner, context.Scope()) is { } objection)
                return objection;
            if (stored?.Value.Kind is { } kind && kind != reading.Kind)
            {
                return new Refusal(StatusCodes.Status409Conflict, "other_kind", $"'{name}' is a {kind.ToString().ToLowerInvariant()} policy, and this text is none.")
                { Hint = "Put it under another name." };
            }

            if (stored is not null && stored.Value.Group != owner)
            {
                if (await OtherUserAsync(stored.Value, owner, use, cancel) is { } user)
                    return new Refusal(StatusCodes.Status409Conflict, "policy_in_use", $"The node '{user.Id}' uses the policy '{name}', and is not of the group '{owner}'.") { Hint = $"keylime node update {user.Id} gives it another policy, or that group." };
                await TellAsync(use.Events, stored.Value, cancel);
                if (!await TryGiveAsync(stored, owner, context.CallerName(), use, cancel))
                    continue;
                stored = await use.Policies.FindAsync(name, cancel);
                if (stored is null || stored.Value.Group != owner)
                    continue; // somebody else is faster
            }

            if (stored is not null && (stored.Value.Digest == digest && stored.Value.Proposed is null || stored.Value.Proposed?.Digest == digest))
            {
                await TellAsync(use.Events, stored.Value, cancel); // what a crash may have left out
                return Answered(StatusCodes.Status200OK, stored.Value);
            }

            var next = Next(stored?.Value, name, owner, digest, text.Length, reading, context.CallerName(), use);
            if (stored is not null)
                await TellAsync(use.Events, stored.Value, cancel); // once it is replaced, nothing would remember what a crash left out
            if (!(stored is null ? await use.Policies.TryAddAsync(next, cancel) : await use.Policies.TryReplaceAsync(stored, next, cancel)))
                continue;
            use.Pins.Forget(name);
            LogPut(use.Log, name, digest);
            await TellAsync(use.Events, next, CancellationToken.None);
            return Answered(stored is null ? StatusCodes.Status201Created : StatusCodes.Status200OK, next);
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this policy at this moment; try again.");
    }

    // A group's operators put what is theirs, and make it no other's.
    private static Refusal? Objection(string name, PolicyRecord? stored, string? owner, CallerScope scope)
    {
        if (stored is not null && !scope.MayUse(stored))
            return new Refusal(StatusCodes.Status403Forbidden, "name_taken", $"The name '{name}' is taken by another group's policy.") { Hint = "Put it under another name." };
        if (stored is not null && !scope.MayChange(stored))
            return DeletePolicy.Shared(name);
        return scope.Covers(owner)
            ? null
            : new Refusal(StatusCodes.Status403Forbidden, "other_group", $"group: one of {scope} is expected, the groups that this role is for.") { Hint = "keylime policy put NAME FILE --group GROUP" };
    }

    // A node that a policy of a group judges is of that group, or its judges would be others than its own operators.
    private static async Task<Node?> OtherUserAsync(PolicyRecord policy, string? owner, Dependencies use, CancellationToken cancel)
    {
        if (owner is null)
            return null;
        var query = new NodeQuery(Moment.Of(use.Clock.GetUtcNow()));
        query = policy.Kind == PolicyKind.Boot ? query with { BootPolicy = policy.Name } : query with { RuntimePolicy = policy.Name };
        Continuation? after = null;
        do
        {
            var page = await use.Nodes.ListAsync(query, after, Paging.MaxLimit, cancel);
            if (page.Items.FirstOrDefault(node => node.Group != owner) is { } other)
                return other;
            after = page.Next;
        }
        while (after is not null);
        return null;
    }

    // Told first: the row does not remember who gave it to whom.
    private static async Task<bool> TryGiveAsync(Stored<PolicyRecord> stored, string? owner, string by, Dependencies use, CancellationToken cancel)
    {
        var whose = owner is null ? "all groups" : $"the group '{owner}'";
        await use.Events.AddAsync(EventRecord.Of(EventRecord.PolicyPrefix + stored.Value.Name, use.Clock.GetUtcNow(), EventTypes.PolicyChanged, $"{by} gives it to {whose}.", "group"), cancel);
        return await use.Policies.TryReplaceAsync(stored, stored.Value with { Schema = PolicyRecord.CurrentSchema, Group = owner }, cancel);
    }

    private static PolicyRecord Next(PolicyRecord? known, string name, string? owner, string digest, long size, PolicyReading reading, string by, Dependencies use)
    {
        var now = use.Clock.GetUtcNow();
        var (paths, excludes) = reading is PolicyReading.Runtime { Policy: var runtime } ? (runtime.Paths, runtime.Excludes) : (0, 0);
        var put = new ProposedPolicy(digest, size, paths, excludes, reading.Warnings, now, by, reading.Signers);
        var record = known ?? new PolicyRecord { Name = name, Group = owner, Kind = reading.Kind, Digest = null, Size = 0, Paths = 0, Excludes = 0, Warnings = [], UpdatedAt = now };
        return use.Options.RequirePolicyApproval
            ? record with { Schema = PolicyRecord.CurrentSchema, Proposed = put }
            : record.InForce(put, null, now);
    }

    /// <summary>Tells what the row says, with the row's own time: however often it is told, it is there once.</summary>
    public static Task TellAsync(IEventStore events, PolicyRecord policy, CancellationToken cancel) => policy.Proposed is { } proposed
        ? events.AddAsync(EventRecord.OfPolicy(policy.Name, proposed.PutAt, EventTypes.PolicyProposed, $"{proposed.PutBy} put the text {proposed.Digest}; it waits for approval."), cancel)
        : ApprovePolicyRoute.TellAsync(events, policy, cancel);

    private static Answer<PolicySummary> Answered(int status, PolicyRecord policy) => Answer.Json(status, ListPolicies.Summary(policy), ApiJson.Default.PolicySummary);

    [LoggerMessage(Level = LogLevel.Information, Message = "The policy {Name} was put: {Digest}")]
    private static partial void LogPut(ILogger log, string name, string digest);
}
