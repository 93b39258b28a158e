using System.Collections.Immutable;
using Keylime.Functions.Storage;
using Keylime.Protocol.Notices;

namespace Keylime.Functions.Notices;

/// <summary>
/// The notices that there are. The newest are in memory, as this process knew them a few seconds ago, so that an attestation's answer carries them and asks no store; who is further behind
/// has them read for it.
/// </summary>
internal sealed class NoticeBoard
{
    /// <summary>So many are kept, the newest; who has not dealt with those before is told that they are lost to it.</summary>
    public const int Kept = 10_000;

    private const int InMemory = 1000;
    private const int FirstPage = 32; // mostly there is nothing new
    private const int MaxSigned = 100; // at once, when the vault answers again

    private readonly IRecordStore<NoticeRecord> _store;
    private readonly NoticeSigner _signer;
    private readonly Recent<Newest> _newest;
    private volatile ImmutableList<NoticeRecord> _known = []; // signed, without a break before them: these change no more

    public NoticeBoard(IRecordStore<NoticeRecord> store, NoticeSigner signer, TimeProvider clock)
    {
        (_store, _signer) = (store, signer);
        _newest = new Recent<Newest>(clock, ReadNewestAsync);
    }

    /// <param name="Items">In the order of their numbers.</param>
    /// <param name="Number">Of the newest of all; 0 where there is none.</param>
    private sealed record Newest(ImmutableList<NoticeRecord> Items, long Number);

    /// <summary>What an agent gets that has dealt with all up to <paramref name="after"/>. What is not signed yet, and whatever comes behind it, has to wait.</summary>
    /// <param name="after">A number, or <see cref="NoticeBatch.FromNowOn"/>.</param>
    public async Task<NoticeBatch> ReadAsync(long after, CancellationToken cancel)
    {
        var newest = await _newest.GetAsync(cancel);
        if (after == NoticeBatch.FromNowOn)
            return new NoticeBatch([], newest.Number);

        // Another instance may have told it of one that this one has not seen yet; where there is none of that number, the store was set back.
        if (after > newest.Number)
            return await FindAsync(after, cancel) is not null ? new NoticeBatch([], after) : new NoticeBatch([], newest.Number) { Lost = true };

        var start = Math.Max(after, newest.Number - Kept);
        var some = start == newest.Number ? []
            : newest.Items is [var first, ..] && first.Number <= start + 1 ? newest.Items.Where(n => n.Number > start)
            : await ReadBehindAsync(start, cancel);
        NoticeRecord[] told = [.. some.TakeWhile(static n => n.Signed is not null).Take(NoticeBatch.MostInOne)];
        return new NoticeBatch([.. told.Select(static n => n.Signed!)], told is [.., var last] ? last.Number : start) { Lost = start != after };
    }

    /// <summary>One was posted here: the next to ask sees it.</summary>
    public void Forget() => _newest.Forget();

    // Numbers have no gap, so their keys are known. One that cannot be read is left out.
    private async Task<IEnumerable<NoticeRecord>> ReadBehindAsync(long start, CancellationToken cancel)
    {
        var found = await Task.WhenAll(Enumerable.Range(1, NoticeBatch.MostInOne).Select(i => FindAsync(start + i, cancel)));
        return found.OfType<NoticeRecord>();
    }

    private async Task<NoticeRecord?> FindAsync(long number, CancellationToken cancel)
    {
        try
        {
            return (await _store.FindAsync(NoticeRecord.KeyOf(number), cancel))?.Value;
        }
        catch (UnreadableRowException)
        {
            return null; // the agent notices the gap
        }
    }

    private async Task<Newest> ReadNewestAsync(CancellationToken cancel)
    {
        var known = _known;
        var read = new List<NoticeRecord>();
        Continuation? after = null;
        var met = false;
        do
        {
            var page = await _store.ListOfAsync(NoticeRecord.KeyPrefix, after, after is null ? FirstPage : InMemory, cancel);
            if (after is null && known is [.., var last] && (page.Items is not [var top, ..] || top.Number < last.Number))
                known = []; // the store was set back
            foreach (var notice in page.Items)
            {
                met |= known is [.., var newest] && notice.Number <= newest.Number;
                if (!met)
                    read.Add(notice);
            }

            after = page.Next;
        }
        while (!met && after is not null && (read.Count < InMemory || read[^1].Signed is null));
        read.Reverse();
        await SignAsync(read, cancel);

        var all = met ? known.AddRange(read) : [.. read];
        var settled = all.TakeWhile(static n => n.Signed is not null).Count();
        _known = all.GetRange(Math.Max(0, settled - InMemory), Math.Min(settled, InMemory));
        return new Newest(all, all is [.., var end] ? end.Number : 0);
    }

    // What the vault did not sign when it was posted.
    private async Task SignAsync(List<NoticeRecord> read, CancellationToken cancel)
    {
        var signed = 0;
        for (var i = 0; i < read.Count && signed < MaxSigned; i++)
        {
            if (read[i].Signed is not null)
                continue;
            if (await _signer.TrySignAsync(read[i].Notice, cancel) is not { } text)
                return;
            signed++;
            var next = read[i] with { Signed = text };
            if (await _store.FindAsync(next.Key, cancel) is { } stored && (stored.Value.Signed is not null || await _store.TryReplaceAsync(stored, next, cancel)))
                read[i] = stored.Value.Signed is not null ? stored.Value : next;
        }
    }
}
