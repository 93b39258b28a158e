using Keylime.Functions.Nodes;
using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Hosting;

/// <summary>
/// Stands behind the gate, before evidence is read: takes in what there is room for (<see cref="EvidenceLimit"/>), and tells the others when to come again. A machine that came and was turned away is not
/// late: until it was to come again, and for as long after that as after a verdict, nothing is told of it.
/// </summary>
internal sealed partial class Overload(RequestDelegate next, EvidenceLimit limit, INodeStore nodes, TimeProvider clock, ILogger<Overload> log)
{
    // Who keeps room longer than this and what its body takes at that pace has lost its connection, or wants to keep others out.
    private static readonly TimeSpan Longest = TimeSpan.FromMinutes(1);
    private const double SlowestPace = 32 * 1024; // bytes a second

    public async Task InvokeAsync(HttpContext context)
    {
        if (context.GetEndpoint()?.Metadata.GetMetadata<RouteRules>() is not { Callers: Caller.Agent, Family: ApiFamily.Attestations, MaxBody: RouteRules.EvidenceBody }
            || context.Features.Get<Stored<Node>>() is not { } node)
        {
            await next(context);
            return;
        }

        if (!LogLength.TryRead(context.Request, node.Value.Open, out var log, out var refusal))
        {
            await refusal.ExecuteAsync(context);
            return;
        }

        // What a compressed list inflates to is in memory too.
        var body = context.Request.ContentLength;
        var length = node.Value.Open?.Ima is { Gzip: true } ? body + log : body;
        using var room = await limit.EnterAsync(node.Value.Id, length, context.RequestAborted);
        if (room is null)
        {
            await TurnAwayAsync(context, node, length);
            return;
        }

        if (length <= EvidenceLimit.Small)
        {
            await next(context);
            return;
        }

        await using var watch = clock.CreateTimer(static held => ((HttpContext)held!).Abort(), context, Longest + TimeSpan.FromSeconds((body ?? RouteRules.EvidenceBody) / SlowestPace), Timeout.InfiniteTimeSpan);
        await next(context);
    }

    private async Task TurnAwayAsync(HttpContext context, Stored<Node> node, long? length)
    {
        var wait = (int)Math.Ceiling(limit.WhenAgain(length).TotalSeconds);
        LogTurnedAway(log, node.Value.Id, wait);
        await PutOffAsync(node, clock.GetUtcNow().AddSeconds(wait), context.RequestAborted);
        await new Refusal(StatusCodes.Status503ServiceUnavailable, "overloaded", "More evidence comes than can be judged at this moment. Nothing was read; the challenge stays open.") { RetryAfter = wait }.ExecuteAsync(context);
    }

    // Nothing but the times that have not come: what is known of the node is what it was. Where somebody else changed the row meanwhile, the node is alive by that.
    private async Task PutOffAsync(Stored<Node> node, DateTimeOffset again, CancellationToken cancel)
    {
        var now = clock.GetUtcNow();
        var next = node.Value with
        {
            LateAt = Later(node.Value.LateAt, NodeStates.LateAt(again, node.Value.IntervalSeconds)),
            SilentAt = Later(node.Value.SilentAt, NodeStates.SilentAt(again, node.Value.IntervalSeconds)),
        };
        if (node.Value.IsPassed && (next.LateAt != node.Value.LateAt || next.SilentAt != node.Value.SilentAt))
            await nodes.TryReplaceAsync(node, next, cancel);

        DateTimeOffset? Later(DateTimeOffset? stored, DateTimeOffset then) => stored > now && stored < then ? then : stored;
    }

    [LoggerMessage(Level = LogLevel.Debug, Message = "No room for the evidence of {Agent}: told to come again in {Seconds} s")]
    private static partial void LogTurnedAway(ILogger log, AgentId agent, int seconds);
}
