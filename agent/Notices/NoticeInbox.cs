using System.Security.Cryptography;
using Keylime.Protocol;
using Keylime.Protocol.Notices;

namespace Keylime.Agent.Notices;

/// <summary>Asks the service for notices behind a number.</summary>
internal delegate Task<NoticeBatch> AskForNotices(long after, CancellationToken cancel);

/// <summary>
/// Deals with what the service tells of other machines, one notice after the other, beside the attestations. How far it has come is kept when the local action has run: so an action runs once,
/// or, where the agent was stopped in the middle of it, once more; and no number is left out without a word.
/// </summary>
/// <remarks>
/// What is not signed by one of the keys, or comes where another number should, is not acted upon and not passed: it is asked for again, for an hour. Then it is passed over, which is logged and
/// is told to the action <see cref="LostNotices.TypeName"/>: a single notice that nobody can read must not keep all later ones away for ever. Whoever could forge it could as well have kept it back.
/// </remarks>
internal sealed class NoticeInbox
{
    private static readonly TimeSpan Patience = TimeSpan.FromHours(1);

    private readonly AgentOptions _options;
    private readonly AgentId _self;
    private readonly TimeProvider _time;
    private readonly ActionFolder? _actions;
    private NoticeCursor _cursor;
    private Task _work = Task.CompletedTask;
    private bool _toldOfNone;

    private NoticeInbox(AgentOptions options, AgentId self, ActionFolder? actions, TimeProvider time)
    {
        (_options, _self, _time, _actions) = (options, self, time, actions);
        _cursor = NoticeCursor.Load(options.NoticeCursorPath);
    }

    /// <returns><see langword="null"/> where no key is installed: then nothing is asked for.</returns>
    /// <exception cref="OptionsException">The keys cannot be read.</exception>
    public static NoticeInbox? Open(AgentOptions options, AgentId self, ActionFolder? actions, TimeProvider time)
    {
        if (options.NoticeKey.Length == 0)
            return null;
        NoticeKeys.Release(NoticeKeys.Load(options.NoticeKeyPath)); // they are read anew when there is something to verify: one may be added while the agent runs
        return new NoticeInbox(options, self, actions, time);
    }

    /// <summary>What to ask with.</summary>
    public long After => _cursor.After;

    /// <summary>Done when there is nothing at work. It never fails.</summary>
    public Task Idle => _work;

    /// <summary>Takes what came with an attestation's answer. While an earlier one is at work it is left: it comes again with the next.</summary>
    /// <param name="batch"><see langword="null"/> where the answer had none.</param>
    public void Take(NoticeBatch? batch, AskForNotices more, CancellationToken cancel)
    {
        if (batch is null && !_toldOfNone)
            Log.Warning($"notice_key is set, and this service tells no notices.");
        _toldOfNone = batch is null;
        if (batch is not null && _work.IsCompleted)
            _work = WorkAsync(batch, more, cancel);
    }

    private async Task WorkAsync(NoticeBatch batch, AskForNotices more, CancellationToken cancel)
    {
        try
        {
            while (await DealAsync(batch, cancel) && batch.Notices.Count >= NoticeBatch.MostInOne)
                batch = await more(_cursor.After, cancel);
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested)
        {
            // the agent stops
        }
        catch (Exception e) when (e is ServiceRefusedException or HttpRequestException)
        {
            Log.Warning($"Notices: {e.Message} The next attestation asks again.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Log.Error($"Notices: it cannot be kept how far they were dealt with: {e.Message} They come again with the next attestation.");
        }
    }

    /// <returns><see langword="false"/> where it is of no use to ask on at once.</returns>
    private async Task<bool> DealAsync(NoticeBatch batch, CancellationToken cancel)
    {
        if (batch.Next is < 0 or > NoticeCursor.Most) // nobody signed it: a number that none can come behind would end notices for ever
        {
            Log.Error($"Notices: the service says that the next is behind {batch.Next}: no number of a notice. They wait.");
            return false;
        }

        if (_cursor.After == NoticeBatch.FromNowOn)
        {
            Keep(new NoticeCursor(batch.Next));
            Log.Info($"Notices of other machines are taken in behind number {_cursor.After}.");
            return false;
        }

        if (batch.Lost)
            await PassAsync(batch.Next - batch.Notices.Count, "the service does not have them any more, or counts anew", cancel);
        if (batch.Notices.Count == 0)
            return false;

        IReadOnlyList<ECDsa> keys;
        try
        {
            keys = NoticeKeys.Load(_options.NoticeKeyPath);
        }
        catch (OptionsException e)
        {
            Log.Error($"{e.Message} Notices wait.");
            return false;
        }

        try
        {
            var before = _cursor.After;
            foreach (var text in batch.Notices)
            {
                if (!await DealAsync(text, keys, cancel))
                    return false;
            }

            return _cursor.After > before;
        }
        finally
        {
            NoticeKeys.Release(keys);
        }
    }

    private async Task<bool> DealAsync(string text, IReadOnlyList<ECDsa> keys, CancellationToken cancel)
    {
        var next = _cursor.After + 1;
        if (!SignedNotice.TryOpen(text, keys, out var notice, out var json, out var why))
            return await DoubtAsync(next, why, cancel);
        if (notice.Number < next)
            return true; // dealt with already
        if (notice.Number > next && !await DoubtAsync(notice.Number - 1, $"number {notice.Number} came in its place", cancel))
            return false;

        Log.Info($"Notice {notice.Number}: {notice.Type} of {notice.Node}.");
        if (notice.Node != _self.ToString()) // of itself it knows by its own verdict
            await ActAsync(notice.Type, json, cancel);
        Keep(new NoticeCursor(notice.Number));
        return true;
    }

    // All up to that number cannot be believed. True once it has been so for long enough to go on behind them.
    private async Task<bool> DoubtAsync(long upTo, string why, CancellationToken cancel)
    {
        var now = _time.GetUtcNow();
        if (_cursor.BadSince is null)
            Keep(_cursor with { BadSince = now });
        if (now - _cursor.BadSince < Patience)
        {
            Log.Error($"Notice {_cursor.After + 1} is not believed: {why}. It is asked for again, and passed over after {Patience.TotalMinutes} minutes.");
            return false;
        }

        await PassAsync(upTo, why, cancel);
        return true;
    }

    private async Task PassAsync(long upTo, string why, CancellationToken cancel)
    {
        var lost = new LostNotices(_cursor.After + 1, upTo, why);
        Log.Error($"Notices {lost.From} to {lost.To} were NOT dealt with: {why}.");
        await ActAsync(LostNotices.TypeName, lost.ToJson(), cancel);
        Keep(_cursor with { After = Math.Max(0, upTo) });
    }

    private async Task ActAsync(string type, byte[] json, CancellationToken cancel)
    {
        if (_actions is null)
            return;
        try
        {
            using var program = _actions.Open(type);
            if (program is not null && await ActionProcess.RunAsync(program, json, _time, cancel) is { } trouble)
                Log.Error($"The action for {type}: {trouble}.");
        }
        catch (ActionRefusedException e)
        {
            Log.Error($"{e.Message}");
        }
    }

    private void Keep(NoticeCursor cursor)
    {
        cursor.Save(_options.NoticeCursorPath);
        _cursor = cursor;
    }
}
