using Keylime.Functions.Storage;

namespace Keylime.Functions.Verifier;

/// <summary>At the start: verdicts that a killed run left in the history and not in their rows are brought in, so that lists tell them.</summary>
internal sealed partial class Repair(INodeStore nodes, Settlement settlement, TimeProvider clock, ILogger<Repair> log) : BackgroundService
{
    private const int PageSize = 500;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            Continuation? after = null;
            do
            {
                var page = await nodes.ListAsync(new NodeQuery(Moment.Of(clock.GetUtcNow()), HasOpen: true), after, PageSize, stoppingToken);
                foreach (var node in page.Items)
                {
                    if (await nodes.FindAsync(node.Id, stoppingToken) is { } stored)
                        await settlement.SettleAsync(stored, null, stoppingToken);
                }

                after = page.Next;
            }
            while (after is not null);
        }
        catch (StorageUnavailableException e)
        {
            LogStopped(log, e.Message); // each node's own next request does the same
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The repair at the start stopped: {Why}")]
    private static partial void LogStopped(ILogger log, string why);
}
