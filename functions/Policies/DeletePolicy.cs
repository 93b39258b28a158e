using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Policies;

/// <summary><c>DELETE /v1/policies/{name}</c>: forgets a name that no node uses. The text stays: verdicts name it by its digest.</summary>
internal static class DeletePolicy
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapDelete("/v1/policies/{name}", HandleAsync).Under(
            new(Caller.Operator, ApiFamily.Own), new("Forget a policy that no node uses.", Status: StatusCodes.Status204NoContent));

    public static Refusal NotFound(string name) =>
        new(StatusCodes.Status404NotFound, "no_such_policy", $"There is no policy '{name}'.") { Hint = "keylime policy list (GET /v1/policies) tells which there are." };

    private static async Task<IResult> HandleAsync(
        string name, HttpContext context, IRecordStore<PolicyRecord> policies, INodeStore nodes, IEventStore events, TimeProvider clock, CancellationToken cancel)
    {
        if (!PolicyNames.IsValid(name))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_name", PolicyNames.Expected);
        if (await policies.FindAsync(name, cancel) is not { } stored)
            return NotFound(name);

        var users = await nodes.ListAsync(new NodeQuery(clock.GetUtcNow(), RuntimePolicy: name), null, 1, cancel);
        if (users.Items is [var user, ..])
        {
            return new Refusal(StatusCodes.Status409Conflict, "policy_in_use", $"The node '{user.Id}' uses the policy '{name}'.")
            { Hint = "A node keeps its policy for as long as it is enrolled." };
        }

        await events.AddAsync(EventRecord.OfPolicy(name, clock.GetUtcNow(), EventTypes.PolicyDeleted, $"{context.CallerName()} deletes the policy; it was {stored.Value.Digest}."), cancel);
        return await policies.TryDeleteAsync(stored, cancel)
            ? TypedResults.NoContent()
            : new Refusal(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this policy at this moment; try again.");
    }
}
