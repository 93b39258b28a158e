using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Nodes;

/// <summary>
/// <c>PATCH /v1/nodes/{id}</c>: gives a node other policies, another interval, another way to recover or another group. Its identity, its keys and its history stay; the next attestation is judged by
/// what is set here, and what other policies had proven is proven again.
/// </summary>
internal static class UpdateNodeRoute
{
    private const int MaxTries = 5;

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapPatch("/v1/nodes/{id}", HandleAsync).Under(new(Caller.Operator, ApiFamily.Own, RouteRules.NodeBody) { Scoped = Scoping.Node },
            new("Give a node other policies, another interval, another way to recover, or another group.", ApiJson.Default.UpdateNode, ApiJson.Default.NodeDetails));

    private static async Task<IResult> HandleAsync(
        AgentId id, HttpContext context, EnrolNodes.Dependencies use, CancellationToken cancel)
    {
        if (!(await RequestBody.ReadJsonAsync(context, ApiJson.Default.UpdateNode, cancel)).TryGet(out var asked, out var unread))
            return unread;

        for (var tries = 0; tries < MaxTries; tries++)
        {
            if (await use.Nodes.FindAsync(id, context.Scope(), cancel) is not { } stored)
                return GetNode.NotFound(id);
            if (stored.Value.Waiting is not null || stored.Value.RetiredAt is not null)
            {
                return new Refusal(StatusCodes.Status409Conflict, "not_under_watch", $"'{id}' {(stored.Value.RetiredAt is null ? "waits to be admitted" : "is retired")}.")
                { Hint = stored.Value.RetiredAt is null ? $"keylime node approve {id}" : $"keylime node reactivate {id}" };
            }

            stored = await use.Settlement.SettleAsync(stored, null, cancel); // what was judged by the old policies is told first
            var node = stored.Value;
            var next = node with
            {
                RuntimePolicy = Changed(asked.RuntimePolicy, node.RuntimePolicy),
                BootPolicy = Changed(asked.BootPolicy, node.BootPolicy),
                Pcrs = asked.Pcrs ?? node.Pcrs,
                IntervalSeconds = asked.IntervalSeconds ?? node.IntervalSeconds,
                Recovery = asked.Recovery is { } recovery ? Recoveries.Stored(recovery) : node.Recovery,
                Group = Changed(asked.Group, node.Group),
                Open = null, // a challenge that was made for the old ones is worth nothing
            };
            var settings = new EnrolNode { RuntimePolicy = next.RuntimePolicy, BootPolicy = next.BootPolicy, Pcrs = next.Pcrs, IntervalSeconds = next.IntervalSeconds, Recovery = next.Recovery, Group = next.Group };
            if (await EnrolNodes.ObjectionAsync(settings, "", use.Policies, context.Scope(), cancel) is { } objection)
                return objection;
            var now = use.Clock.GetUtcNow();
            if (EnrolNodes.PolicyDifference(node, next) is not null)
            {
                var happened = EventRecord.Of(id, now, EventTypes.NodeChanged,
                    $"{context.CallerName()} set: runtime policy {Named(next.RuntimePolicy)}, boot policy {Named(next.BootPolicy)}, {next.Pcrs.Count} PCRs with values, every {next.IntervalSeconds} s, healed by {next.Recovery ?? Recoveries.Pass}, group {Named(next.Group)}.");
                if (await use.Settlement.ChangeAsync(stored, next, happened, cancel) is not { } changed)
                    continue;
                stored = changed;
            }

            return await EnrolNodes.AnswerAsync(StatusCodes.Status200OK, stored.Value, use.Verdicts, await use.Heartbeat.NowAsync(cancel), cancel);
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this node at this moment; try again.");
    }

    private static string? Changed(string? asked, string? known) => asked is null ? known : asked.Length == 0 ? null : asked;

    private static string Named(string? policy) => policy is null ? "none" : $"'{policy}'";
}
