using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Hosting;

/// <summary>
/// Stands behind the gate, before evidence is read: takes in what there is room for (<see cref="EvidenceLimit"/>), and tells the others when to come again. A machine that waits here,
/// or was turned away, is not late: until it is judged, or was to come again, and for as long after that as after a verdict, nothing is told of it (<see cref="HeardNode"/>).
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
        if (length <= EvidenceLimit.Small)
        {
            using var little = await limit.EnterAsync(node.Value.Id, length, context.RequestAborted);
            await (little is null ? TurnAwayAsync(context, new HeardNode(nodes, node, clock), length) : next(context));
            return;
        }

        var heard = new HeardNode(nodes, node, clock);
        if (limit.IsBusy)
            await heard.PutOffAsync(clock.GetUtcNow(), context.RequestAborted);
        using var over = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        var keeping = heard.KeepAsync(over.Token);
        var taken = false;
        try
        {
            taken = await TakeAsync(context, heard, length, body);
        }
        finally
        {
            await over.CancelAsync();
            await keeping;
        }

        if (!taken)
            await TurnAwayAsync(context, heard, length);
    }

    /// <returns>False where there is no room.</returns>
    private async Task<bool> TakeAsync(HttpContext context, HeardNode node, long? length, long? body)
    {
        using var room = await limit.EnterAsync(node.Row.Value.Id, length, context.RequestAborted);
        if (room is null)
            return false;

        context.Features.Set(node.Row); // it may have been put off while it waited
        await using var watch = clock.CreateTimer(static held => ((HttpContext)held!).Abort(), context, Longest + TimeSpan.FromSeconds((body ?? RouteRules.EvidenceBody) / SlowestPace), Timeout.InfiniteTimeSpan);
        await next(context);
        return true;
    }

    private async Task TurnAwayAsync(HttpContext context, HeardNode node, long? length)
    {
        var wait = (int)Math.Ceiling(limit.WhenAgain(length).TotalSeconds);
        LogTurnedAway(log, node.Row.Value.Id, wait);
        await node.PutOffAsync(clock.GetUtcNow().AddSeconds(wait), context.RequestAborted);
        await new Refusal(StatusCodes.Status503ServiceUnavailable, "overloaded", "More evidence comes than can be judged at this moment. Nothing was read; the challenge stays open.") { RetryAfter = wait }.ExecuteAsync(context);
    }

    [LoggerMessage(Level = LogLevel.Debug, Message = "No room for the evidence of {Agent}: told to come again in {Seconds} s")]
    private static partial void LogTurnedAway(ILogger log, AgentId agent, int seconds);
}
