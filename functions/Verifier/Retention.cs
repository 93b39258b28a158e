using Keylime.Functions.Hosting;
using Keylime.Functions.Keys;
using Keylime.Functions.Notices;
using Keylime.Functions.Storage;
using Keylime.Functions.Telemetry;

namespace Keylime.Functions.Verifier;

/// <summary>
/// Deletes verdicts, events and what became of their delivery that are older than the operator wants them kept, and tokens that opened nothing for as long; off unless that is said. And notices behind the newest ones.
/// It goes over the fleet in laps, and a run does as much of one as its time allows; the next run goes on there, and what is done twice is done.
/// </summary>
/// <remarks>
/// Of a node stay, however old: its newest verdict, the newest pass and the newest fail, the evidence of the boot that it is in, and whatever its row has not
/// taken in yet. So no nonce can be spent again: the row of an attestation that could still be answered is never deleted.
/// </remarks>
internal sealed class Retention(
    INodeStore nodes, IVerdictStore verdicts, IEventStore events, IOutbox outbox, IRecordStore<Webhook> webhooks, IRecordStore<AccessToken> tokens, NoticePosting notices, IRecordStore<TimerState> timers, ILeader leader, TimeProvider clock, ServiceOptions options, ILogger<Retention> log) : BackgroundService
{
    public const string Name = "retention";

    /// <summary>From one run to the next, and so how often somebody looks whether a lap is due: our own timer's, and the host's (functions/triggers/trg-retention).</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromMinutes(5);

    /// <summary>From the start of one lap to that of the next, where one takes no longer: what has expired meanwhile is deleted in a few requests a node.</summary>
    public static readonly TimeSpan Pace = TimeSpan.FromHours(1);

    /// <summary>After so long a run begins nothing more.</summary>
    public static readonly TimeSpan Budget = TimeSpan.FromMinutes(4);

    // What was begun by then is ended here, a little before the functionTimeout of host.json: the host would end the whole program.
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(285);

    private const int NodesAPage = 100;
    private const int FirstRows = 200;
    private const int RowsAPage = 1000;
    private const int EventsAtOnce = 1000;
    private const int Narrow = 64; // so many rows are read in vain sooner than that a request goes out to save them
    private const int MaxGuesses = 3;

    private Known? _known;

    // A request to Azure waits for the network; SQLite has one writer, and reads are the processor's.
    private int AtOnce => options.UsesAzure ? 16 : 2;

    /// <summary>Whatever had expired until then is deleted, as far as this process knows from a run of late; <see langword="null"/> where it does not, or nothing expires.</summary>
    public DateTimeOffset? DoneTo =>
        (options.KeepVerdicts ?? options.KeepEvents) is not null && Volatile.Read(ref _known) is { } known && (clock.GetUtcNow() - known.At).Duration() <= 2 * Interval + Budget ? known.DoneTo : null;

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapTrigger<Retention>("/trg-retention", "The timer's: delete what is older than it is to be kept.", static (retention, cancel) => retention.ContinueAsync(cancel));

    /// <summary>The timer's: goes on with the lap that is not done, or begins one where it is due.</summary>
    public async Task ContinueAsync(CancellationToken cancel)
    {
        if (await timers.FindAsync(Name, cancel) is { Value: var state } && state.Lap is null && (clock.GetUtcNow() - state.DoneTo).Duration() < Pace)
            Know(state);
        else
            await RunAsync(cancel);
    }

    /// <summary>One run: as much of the lap as its time allows.</summary>
    public async Task RunAsync(CancellationToken cancel)
    {
        using var span = Traces.Run("retention");
        using var limit = new CancellationTokenSource(Limit, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancel, limit.Token);
        try
        {
            await RunAsync(clock.GetTimestamp(), either.Token);
        }
        catch (OperationCanceledException) when (limit.IsCancellationRequested && !cancel.IsCancellationRequested)
        {
            // as if it had been killed there
        }
    }

    private async Task RunAsync(long began, CancellationToken cancel)
    {
        var now = clock.GetUtcNow();
        var stored = await timers.FindAsync(Name, cancel);
        var state = stored?.Value is { Lap: not null } under ? under : (stored?.Value ?? new TimerState { Name = Name, At = now }) with { At = now, Cursor = null, Lap = new Lap(now) };
        if (!ReferenceEquals(state, stored?.Value) && !(stored is null ? await timers.TryAddAsync(state, cancel) : await timers.TryReplaceAsync(stored, state, cancel)))
            return; // somebody else begins it
        Know(state);

        var (lap, told) = options.KeepEvents is { } keepEvents ? await DeleteEventsAsync(state.Lap!, now - keepEvents, began, cancel) : (state.Lap!, true);
        if (state.Cursor is null)
            await notices.TrimAsync(cancel);
        var after = state.Cursor is { } cursor ? new Continuation(cursor) : (Continuation?)null;
        var done = options.KeepVerdicts is null;
        while (!done && !IsOver(began, 1))
        {
            var page = await nodes.ListAsync(new NodeQuery(Moment.Of(now)), after, NodesAPage, cancel);
            var (deleted, all) = await DeleteVerdictsAsync(page.Items, now - options.KeepVerdicts!.Value, began, cancel);
            lap = lap with { Verdicts = lap.Verdicts + deleted, Nodes = lap.Nodes + (all ? page.Items.Count : 0) };
            if (!all)
                break; // the same page again, next time
            (after, done) = (page.Next, page.Next is null);
            if (done)
                break;
            var next = state with { At = clock.GetUtcNow(), Cursor = after?.Key, Lap = lap };
            if (!await TryKeepAsync(state, next, cancel))
                return;
            state = next;
        }

        if (!done || !told)
        {
            await TryKeepAsync(state, state with { At = clock.GetUtcNow(), Lap = lap }, cancel);
            return;
        }

        // Told before it is written down: killed between the two, it is told under the same key again.
        if (lap.Deleted > 0)
            await events.AddAsync(EventRecord.Of(EventRecord.Service, lap.Began, EventTypes.Retention, Describe(lap)), cancel);
        await TryKeepAsync(state, state with { At = clock.GetUtcNow(), Cursor = null, Lap = null, DoneTo = lap.Began }, cancel);
    }

    private string Describe(Lap lap)
    {
        var counted = $"{lap.Verdicts} verdicts, {lap.Events} events, {lap.Deliveries} deliveries, {lap.Tokens} expired tokens.";
        var took = clock.GetUtcNow() - lap.Began;
        return took <= Pace ? $"Deleted as older than they are to be kept: {counted}"
            : $"It took {took:d\\.hh\\:mm\\:ss} to go over {lap.Nodes} nodes, so much longer was kept what had expired. Deleted as older than they are to be kept: {counted}";
    }

    private bool IsOver(long began, double part) => clock.GetElapsedTime(began) >= Budget * part;

    // False where somebody else has gone on meanwhile: theirs is as good.
    private async Task<bool> TryKeepAsync(TimerState was, TimerState next, CancellationToken cancel)
    {
        if (await timers.FindAsync(Name, cancel) is not { } stored || stored.Value.Lap != was.Lap || stored.Value.Cursor != was.Cursor || !await timers.TryReplaceAsync(stored, next, cancel))
            return false;
        Know(next);
        return true;
    }

    private void Know(TimerState state) =>
        Volatile.Write(ref _known, new Known(clock.GetUtcNow(), state.DoneTo > DateTimeOffset.MinValue ? state.DoneTo : state.Lap?.Began));

    // Half of the time is for them at most, so that verdicts go too.
    private async Task<(Lap Lap, bool All)> DeleteEventsAsync(Lap lap, DateTimeOffset before, long began, CancellationToken cancel)
    {
        for (var more = true; more && !IsOver(began, 0.5);)
        {
            var deleted = await events.DeleteBeforeAsync(before, EventsAtOnce, cancel);
            (lap, more) = (lap with { Events = lap.Events + deleted }, deleted > 0);
        }

        foreach (var webhook in await webhooks.AllAsync(cancel))
        {
            for (var more = true; more && !IsOver(began, 0.5);)
            {
                var deleted = await outbox.DeleteBeforeAsync(webhook.Channel, before, EventsAtOnce, cancel);
                (lap, more) = (lap with { Deliveries = lap.Deliveries + deleted }, deleted > 0);
            }
        }

        foreach (var token in await tokens.AllAsync(cancel))
        {
            // The first ones have files, which would bring them back.
            if (token.ExpiresAt < before && !AccessTokens.IsFirst(token.Name) && await tokens.FindAsync(token.Name, cancel) is { } stored && stored.Value.ExpiresAt < before
                && await tokens.TryDeleteAsync(stored, cancel))
                lap = lap with { Tokens = lap.Tokens + 1 };
        }

        return (lap, !IsOver(began, 0.5));
    }

    /// <returns>How many were deleted, and whether of all these nodes all that had expired.</returns>
    private async Task<(int Deleted, bool All)> DeleteVerdictsAsync(IReadOnlyList<Node> page, DateTimeOffset before, long began, CancellationToken cancel)
    {
        var (deleted, left) = (0, 0);
        await Parallel.ForEachAsync(page, new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = cancel }, async (node, token) =>
        {
            var (gone, all) = await DeleteVerdictsAsync(node, before, began, token);
            Interlocked.Add(ref deleted, gone);
            if (!all)
                Interlocked.Increment(ref left);
        });
        return (deleted, left == 0);
    }

    private async Task<(int Deleted, bool All)> DeleteVerdictsAsync(Node node, DateTimeOffset before, long began, CancellationToken cancel)
    {
        // What its row does not know of stays, and nothing is older than the node.
        if (node.Last is not { Attestation: > 0 } || node.EnrolledAt >= before)
            return (0, true);
        if (IsOver(began, 1))
            return (0, false);
        var (deleted, pass, fail) = (0, false, false);
        for (var page = await FirstPageAsync(node, node.Last, before, cancel); ;)
        {
            var expired = new List<long>();
            foreach (var verdict in page.Items.Where(v => v.Message.At < before))
            {
                var newest = verdict.Pass ? !pass : !fail; // of its kind, among those that are old enough: there may be newer ones, then this one stays longer than it must
                (pass, fail) = (pass || verdict.Pass, fail || !verdict.Pass);
                if (!newest && !IsWanted(node, verdict))
                    expired.Add(verdict.Message.Attestation);
            }

            if (expired.Count > 0)
                await verdicts.DeleteAsync(node.Id, expired, cancel);
            deleted += expired.Count;
            if (page.Next is not { } next)
                return (deleted, true);
            if (IsOver(began, 1))
                return (deleted, false);
            page = await verdicts.ListUpToAsync(node.Id, next, RowsAPage, cancel);
        }
    }

    /// <summary>
    /// Rows from the newest expired one on down, or from a little above. Numbers go up with time, and most machines come as often as ever, so the place is read off a line between what is known: the enrolment and the last verdict, and
    /// then what was found there instead. A machine that came and went is found by halving.
    /// </summary>
    private async Task<VerdictRows> FirstPageAsync(Node node, LastVerdict last, DateTimeOffset before, CancellationToken cancel)
    {
        // From high on nothing has expired, or stays anyway; up to low all that is there has. Between known points there are lines.
        var (low, high, tries) = (-1L, last.Attestation, 0);
        var (under, over) = ((Number: -1L, At: node.EnrolledAt), (Number: last.Attestation, last.At));
        while (high - low > Narrow && over.At - before > Narrow * TimeSpan.FromSeconds(node.IntervalSeconds))
        {
            var guess = tries++ < MaxGuesses && before > under.At
                ? under.Number + (long)((over.Number - under.Number) * ((before - under.At) / (over.At - under.At))) + Narrow / 2
                : low + (high - low) / 2;
            guess = Math.Clamp(guess, low + 1, high - 1);
            var page = await verdicts.ListUpToAsync(node.Id, guess, FirstRows, cancel);
            if (page.Items is not [{ Message: var newest }, ..])
                (low, tries) = (guess, MaxGuesses);
            else if (newest.At < before)
                (low, under) = (guess, (newest.Attestation, newest.At));
            else if (page.Items[^1].Message.At < before || page.Next is null)
                return page; // the place is in it, or nothing has expired
            else
                (high, over) = (page.Items[^1].Message.Attestation, (page.Items[^1].Message.Attestation, page.Items[^1].Message.At));
        }

        return await verdicts.ListUpToAsync(node.Id, high - 1, FirstRows, cancel);
    }

    private static bool IsWanted(Node node, VerdictRecord verdict) =>
        verdict.Message.Attestation >= (node.Open?.UnsettledFrom ?? long.MaxValue)
        || node.Last is null || verdict.Message.Attestation >= node.Last.Attestation
        || verdict.Message.Attestation == node.Unhealed?.Attestation
        || (verdict.Evidence is not null && verdict.Message.Clock?.ResetCount == node.Clock?.ResetCount);

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        options.HandlerPort is null ? leader.RepeatAsync(Name, Interval, clock, ContinueAsync, log, stoppingToken) : Task.CompletedTask; // the host's timer calls

    private sealed record Known(DateTimeOffset At, DateTimeOffset? DoneTo);
}
