using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Policies;

/// <summary>
/// <c>POST /v1/policies/{name}/approve</c>: brings a text that waits into force. Whoever put it, or signed it, is not the one who approves it.
/// </summary>
internal static class ApprovePolicyRoute
{
    private const int MaxTries = 3;

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapPost("/v1/policies/{name}/approve", HandleAsync).Under(
            new(Caller.Operator | Caller.Approver, ApiFamily.Own) { Scoped = Scoping.Handler }, new("Bring a policy's proposed text into force.", ApiJson.Default.ApprovePolicy, ApiJson.Default.PolicySummary));

    private static async Task<IResult> HandleAsync(
        string name, HttpContext context, IRecordStore<PolicyRecord> policies, PolicyPins pins, IEventStore events, TimeProvider clock, CancellationToken cancel)
    {
        if (!PolicyNames.IsValid(name))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_name", PolicyNames.Expected);
        if (!(await RequestBody.ReadJsonAsync(context, ApiJson.Default.ApprovePolicy, cancel)).TryGet(out var asked, out var unread))
            return unread;

        var by = context.CallerName();
        for (var tries = 0; tries < MaxTries; tries++)
        {
            if (await policies.FindAsync(name, context.Scope(), cancel) is not { } stored)
                return DeletePolicy.NotFound(name);
            if (!context.Scope().MayChange(stored.Value))
                return DeletePolicy.Shared(name);
            if (stored.Value.Proposed is not { } proposed)
            {
                if (stored.Value.Digest != asked.Digest)
                    return new Refusal(StatusCodes.Status409Conflict, "nothing_to_approve", $"No text of the policy '{name}' waits for approval.");
                await TellAsync(events, stored.Value, cancel); // approved before
                return Answer.Json(StatusCodes.Status200OK, ListPolicies.Summary(stored.Value), ApiJson.Default.PolicySummary);
            }

            // What is approved is the very text that was looked at, whatever is proposed by now.
            if (proposed.Digest != asked.Digest)
                return new Refusal(StatusCodes.Status409Conflict, "other_text", $"The text that waits is {proposed.Digest}, not {asked.Digest}.");
            // A signer is somebody's key: kept under the same name as that person's token, it is known to be theirs.
            if (CallerNames.AreOne(proposed.PutBy, by) || proposed.Signers.Contains(CallerNames.SignerOf(by)))
            {
                return new Refusal(StatusCodes.Status403Forbidden, "own_policy", $"'{name}' was put by {proposed.PutBy}{Signed(proposed)}: somebody else approves it.")
                { Hint = "Use another approver's or operator's token." };
            }

            await PutPolicy.TellAsync(events, stored.Value, cancel); // that it waits: a crash may have left it out
            var next = stored.Value.InForce(proposed, by, clock.GetUtcNow());
            if (!await policies.TryReplaceAsync(stored, next, cancel))
                continue;
            pins.Forget(name);
            await TellAsync(events, next, CancellationToken.None);
            return Answer.Json(StatusCodes.Status200OK, ListPolicies.Summary(next), ApiJson.Default.PolicySummary);
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this policy at this moment; try again.");
    }

    /// <summary>Tells what is in force now, with the row's own time: however often it is told, it is there once.</summary>
    public static Task TellAsync(IEventStore events, PolicyRecord policy, CancellationToken cancel)
    {
        var who = policy.Versions is [var version, ..]
            ? version.PutBy + (version.Signers.Count > 0 ? $", signed by {string.Join(", ", version.Signers)}" : "") + (version.ApprovedBy is { } approver ? $", approved by {approver}" : "")
            : "an operator";
        return events.AddAsync(EventRecord.OfPolicy(policy.Name, policy.UpdatedAt, EventTypes.PolicyChanged, $"It is {policy.Digest} now, put by {who}."), cancel);
    }

    private static string Signed(ProposedPolicy proposed) => proposed.Signers.Count > 0 ? $" and signed by {string.Join(", ", proposed.Signers)}" : "";
}
