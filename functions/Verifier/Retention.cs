using Keylime.Functions.Hosting;
using Keylime.Functions.Keys;
using Keylime.Functions.Notices;
using Keylime.Functions.Storage;
using Keylime.Functions.Telemetry;

namespace Keylime.Functions.Verifier;

/// <summary>
/// Deletes verdicts, events and what became of their delivery that are older than the operator wants them kept, and tokens that opened nothing for as long; off unless that is said. And notices behind the newest ones. Each run does a part of the fleet, and the next one
/// goes on there; what is done twice is done.
/// </summary>
/// <remarks>
/// Of a node stay, however old: its newest verdict, the newest pass and the newest fail, the evidence of the boot that it is in, and whatever its row has not
/// taken in yet. So no nonce can be spent again: the row of an attestation that could still be answered is never deleted.
/// </remarks>
internal sealed class Retention(
    INodeStore nodes, IVerdictStore verdicts, IEventStore events, IOutbox outbox, IRecordStore<Webhook> webhooks, IRecordStore<AccessToken> tokens, NoticePosting notices, IRecordStore<TimerState> timers, ILeader leader, TimeProvider clock, ServiceOptions options, ILogger<Retention> log) : BackgroundService
{
    private const string Name = "retention";
    private const int NodesAPage = 100;
    private const int MaxPages = 10;
    private const int RowsAPage = 500;
    private const int MaxDeleted = 10_000; // a run, of each kind
    private static readonly TimeSpan Interval = TimeSpan.FromHours(1);

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapTrigger<Retention>("/trg-retention", "The timer's: delete what is older than it is to be kept.", static (retention, cancel) => retention.RunAsync(cancel));

    /// <summary>One part.</summary>
    public async Task RunAsync(CancellationToken cancel)
    {
        using var span = Traces.Run("retention");
        var now = clock.GetUtcNow();
        var (old, delivered, expired) = options.KeepEvents is { } keepEvents ? await DeleteEventsAsync(now - keepEvents, cancel) : default;
        var judged = options.KeepVerdicts is { } keepVerdicts ? await DeleteVerdictsAsync(now - keepVerdicts, now, cancel) : 0;
        await notices.TrimAsync(cancel);
        if (old + judged + delivered + expired > 0)
            await events.AddAsync(EventRecord.Of(EventRecord.Service, now, EventTypes.Retention, $"Deleted as older than they are to be kept: {judged} verdicts, {old} events, {delivered} deliveries, {expired} expired tokens."), cancel);
    }

    private async Task<(int Events, int Deliveries, int Tokens)> DeleteEventsAsync(DateTimeOffset before, CancellationToken cancel)
    {
        var (old, delivered, expired) = (await events.DeleteBeforeAsync(before, MaxDeleted, cancel), 0, 0);
        foreach (var webhook in await webhooks.AllAsync(cancel))
            delivered += await outbox.DeleteBeforeAsync(webhook.Channel, before, MaxDeleted - delivered, cancel);
        foreach (var token in await tokens.AllAsync(cancel))
        {
            // The first ones have files, which would bring them back.
            if (token.ExpiresAt < before && !AccessTokens.IsFirst(token.Name) && await tokens.FindAsync(token.Name, cancel) is { } stored && stored.Value.ExpiresAt < before
                && await tokens.TryDeleteAsync(stored, cancel))
                expired++;
        }

        return (old, delivered, expired);
    }

    private async Task<int> DeleteVerdictsAsync(DateTimeOffset before, DateTimeOffset now, CancellationToken cancel)
    {
        var stored = await timers.FindAsync(Name, cancel);
        var after = stored?.Value.Cursor is { } cursor ? new Continuation(cursor) : (Continuation?)null;
        var deleted = 0;
        for (var pages = 0; pages < MaxPages && deleted < MaxDeleted; pages++)
        {
            var page = await nodes.ListAsync(new NodeQuery(Moment.Of(now)), after, NodesAPage, cancel);
            foreach (var node in page.Items)
                deleted += await DeleteVerdictsAsync(node, before, MaxDeleted - deleted, cancel);
            if (deleted >= MaxDeleted)
                break; // the same page again, next time
            after = page.Next;
            if (after is null)
                break;
        }

        var next = (stored?.Value ?? new TimerState { Name = Name, At = now }) with { At = now, Cursor = after?.Key };
        _ = stored is null ? await timers.TryAddAsync(next, cancel) : await timers.TryReplaceAsync(stored, next, cancel); // if somebody else was faster, theirs is as good
        return deleted;
    }

    private async Task<int> DeleteVerdictsAsync(Node node, DateTimeOffset before, int most, CancellationToken cancel)
    {
        var (deleted, pass, fail) = (0, false, false);
        var upTo = await NewestExpiredAsync(node, before, cancel);
        while (upTo >= 0 && deleted < most)
        {
            var page = await verdicts.ListUpToAsync(node.Id, upTo, RowsAPage, cancel);
            if (page.Count == 0)
                break;
            var expired = new List<long>();
            foreach (var verdict in page)
            {
                var newest = verdict.Pass ? !pass : !fail; // of its kind, among those that are old enough: there may be newer ones, then this one stays longer than it must
                (pass, fail) = (pass || verdict.Pass, fail || !verdict.Pass);
                if (!newest && verdict.Message.At < before && !IsWanted(node, verdict) && deleted + expired.Count < most)
                    expired.Add(verdict.Message.Attestation);
            }

            if (expired.Count > 0)
                await verdicts.DeleteAsync(node.Id, expired, cancel);
            deleted += expired.Count;
            upTo = page[^1].Message.Attestation - 1;
        }

        return deleted;
    }

    // Numbers go up with time, so the place is found by halving: a single row each.
    private async Task<long> NewestExpiredAsync(Node node, DateTimeOffset before, CancellationToken cancel)
    {
        var (low, high) = (-1L, node.NextAttestation - 1);
        while (low < high)
        {
            var middle = high - (high - low) / 2;
            var newest = await verdicts.ListUpToAsync(node.Id, middle, 1, cancel);
            if (newest is [var verdict] && verdict.Message.At >= before)
                high = verdict.Message.Attestation - 1;
            else
                low = middle;
        }

        return low;
    }

    private static bool IsWanted(Node node, VerdictRecord verdict) =>
        verdict.Message.Attestation >= (node.Open?.UnsettledFrom ?? long.MaxValue)
        || node.Last is null || verdict.Message.Attestation >= node.Last.Attestation
        || verdict.Message.Attestation == node.Unhealed?.Attestation
        || (verdict.Evidence is not null && verdict.Message.Clock?.ResetCount == node.Clock?.ResetCount);

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        options.HandlerPort is null ? leader.RepeatAsync(Name, Interval, clock, RunAsync, log, stoppingToken) : Task.CompletedTask; // the host's timer calls
}
