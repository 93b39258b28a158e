using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Verifier;

/// <summary>
/// Tells of nodes that are overdue. What it tells follows from stored times, so that two sweeps, or one after a restart, tell the same events once.
/// </summary>
internal sealed partial class Sweep(INodeStore nodes, IEventStore events, UnreadableRows unreadable, TimeProvider clock, ServiceOptions options, ILogger<Sweep> log) : BackgroundService
{
    private const int PageSize = 1000;
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan Overlap = TimeSpan.FromMinutes(2); // clocks of several instances differ a little

    // Only what became overdue since the last sweep is told; after a start everything is looked at.
    private DateTimeOffset _last = DateTimeOffset.MinValue + Overlap;

    public static void Map(IEndpointRouteBuilder routes) => routes.MapPost("/trg-sweep", async (Sweep sweep, CancellationToken cancel) =>
    {
        await sweep.RunAsync(cancel);
        return TypedResults.Text("{}", MediaTypes.Json);
    }).Under(new(Caller.HostTrigger, ApiFamily.Own), new("The timer's: tell of nodes that are overdue."));

    /// <summary>One sweep over the nodes that are late or silent.</summary>
    public async Task RunAsync(CancellationToken cancel)
    {
        var now = clock.GetUtcNow();
        foreach (var state in (NodeState[])[NodeState.Late, NodeState.Silent])
        {
            Continuation? after = null;
            do
            {
                var page = await nodes.ListAsync(new NodeQuery(now, state), after, PageSize, cancel);
                foreach (var node in page.Items)
                {
                    foreach (var happened in Standing.Overdue(node, now).Where(e => e.At > _last - Overlap))
                        await events.AddAsync(happened, cancel);
                }

                after = page.Next;
            }
            while (after is not null);
        }

        await unreadable.TellAsync(events, cancel);
        _last = now;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (options.HandlerPort is not null)
            return; // the host's timer calls

        using var timer = new PeriodicTimer(Interval, clock);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try
            {
                await RunAsync(stoppingToken);
            }
#pragma warning disable CA1031 // The outermost loop of the timer: what one sweep met must not be the end of all.
            catch (Exception e) when (e is not OperationCanceledException)
#pragma warning restore CA1031
            {
                LogFailed(log, e);
            }
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "A sweep failed; the next one looks again")]
    private static partial void LogFailed(ILogger log, Exception e);
}
