using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Policies;

/// <summary><c>DELETE /v1/policies/{name}</c>: forgets a name that no node uses. The text stays: verdicts name it by its digest.</summary>
internal static class DeletePolicy
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapDelete("/v1/policies/{name}", HandleAsync).Under(
            new(Caller.Operator, ApiFamily.Own) { Scoped = Scoping.Handler }, new("Forget a policy that no node uses.", Status: StatusCodes.Status204NoContent));

    public static Refusal NotFound(string name) =>
        new(StatusCodes.Status404NotFound, "no_such_policy", $"There is no policy '{name}'.") { Hint = "keylime policy list (GET /v1/policies) tells which there are." };

    /// <summary>What all share nobody changes whose role is for groups alone.</summary>
    public static Refusal Shared(string name) =>
        new(StatusCodes.Status403Forbidden, "shared_policy", $"The policy '{name}' is of no group, so all share it: only a role for the whole service changes it.");

    private static async Task<IResult> HandleAsync(
        string name, HttpContext context, IRecordStore<PolicyRecord> policies, PolicyPins pins, INodeStore nodes, IRecordStore<EnrolmentRule> rules,
        IEventStore events, TimeProvider clock, CancellationToken cancel)
    {
        if (!PolicyNames.IsValid(name))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_name", PolicyNames.Expected);
        if (await policies.FindAsync(name, context.Scope(), cancel) is not { } stored)
            return NotFound(name);
        if (!context.Scope().MayChange(stored.Value))
            return Shared(name);

        var query = new NodeQuery(Moment.Of(clock.GetUtcNow()));
        var users = await nodes.ListAsync(stored.Value.Kind == PolicyKind.Boot ? query with { BootPolicy = name } : query with { RuntimePolicy = name }, null, 1, cancel);
        if (users.Items.Count + users.Unreadable > 0)
        {
            return users.Items is [var user, ..] && context.Scope().Covers(user)
                ? new Refusal(StatusCodes.Status409Conflict, "policy_in_use", $"The node '{user.Id}' uses the policy '{name}'.") { Hint = $"keylime node update {user.Id} gives it another one." }
                : !context.Scope().IsAll ? new Refusal(StatusCodes.Status409Conflict, "policy_in_use", $"A node of another group uses the policy '{name}'.")
                : new Refusal(StatusCodes.Status409Conflict, "policy_in_use", $"A node whose row cannot be read uses the policy '{name}'.") { Hint = "keylime events --type storage.row_unreadable tells which." };
        }

        if ((await rules.AllAsync(cancel)).FirstOrDefault(rule => rule.Rule.Node is { } asked && (asked.RuntimePolicy == name || asked.BootPolicy == name)) is { } asking)
        {
            return new Refusal(StatusCodes.Status409Conflict, "policy_in_use", $"The enrolment rule '{asking.Name}' admits nodes with the policy '{name}'.")
            { Hint = "Put the rule again with another policy, or delete it: keylime rule delete." };
        }

        await events.AddAsync(EventRecord.OfPolicy(name, clock.GetUtcNow(), EventTypes.PolicyDeleted, $"{context.CallerName()} deletes the policy; it was {stored.Value.Digest}."), cancel);
        if (await policies.TryDeleteAsync(stored, cancel))
        {
            pins.Forget(name);
            return TypedResults.NoContent();
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this policy at this moment; try again.");
    }
}
