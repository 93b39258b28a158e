using Keylime.Functions.Notifications;
using Keylime.Functions.Storage;
using Keylime.Protocol.Notices;

namespace Keylime.Functions.Notices;

/// <summary>
/// Puts events that machines are told of onto the board, each once, under the next number. First the event is claimed, with a number that is taken by then; then its notice is added under the
/// first one that is free. So whoever tells the event again, after a crash or at the same time, has to look through no more than what came since the claim.
/// </summary>
/// <remarks>Numbers have no gap and none is used twice: a row is added right behind the newest, and that one is never deleted.</remarks>
internal sealed class NoticePosting(IRecordStore<NoticeRecord> notices, IRecordStore<NoticeClaim> claims, NoticeSigner signer, NoticeBoard board) : IDisposable
{
    private const int PageSize = 1000;
    private const int MaxTrimmed = 1000;

    private readonly SemaphoreSlim _posting = new(1);
    private long? _newest; // as last seen: there may be newer ones by now

    /// <summary>Whether machines are told of such an event.</summary>
    public static bool IsTold(EventRecord happened) => NoticeTypes.All.Contains(happened.Type);

    /// <summary>Posts the event, unless it is on the board.</summary>
    public async Task PostAsync(EventRecord happened, CancellationToken cancel)
    {
        await _posting.WaitAsync(cancel); // one after another here saves most of the conflicts
        try
        {
            await AddAsync(happened, cancel);
        }
        finally
        {
            _posting.Release();
        }

        board.Forget();
    }

    private async Task AddAsync(EventRecord happened, CancellationToken cancel)
    {
        var id = happened.GlobalId;
        var newest = _newest ??= await NewestAsync(cancel);
        var searched = newest; // of this event there is nothing up to here
        if (!await claims.TryAddAsync(new NoticeClaim { EventId = id, After = newest }, cancel))
        {
            if (await claims.FindAsync(id, cancel) is not { Value: var claim })
                return; // posted, and trimmed since
            searched = claim.After;
            newest = await NewestAsync(cancel);
        }

        while (true)
        {
            if (searched < newest && await IsPostedAsync(id, searched, cancel))
                break;
            searched = newest;
            var notice = new Notice(newest + 1, id, happened.Type, happened.Subject, happened.At)
            {
                // Why it failed names files and programs of that machine: operators read it, other machines do not.
                Revocation = WebhookBody.RevocationOf(happened) is { } revocation ? revocation with { Context = "{}" } : null,
            };
            if (await notices.TryAddAsync(new NoticeRecord { Notice = notice, Signed = await signer.TrySignAsync(notice, cancel) }, cancel))
            {
                newest++;
                break;
            }

            newest = Math.Max(newest + 1, await NewestAsync(cancel)); // somebody else was faster
        }

        _newest = newest;
    }

    private async Task<long> NewestAsync(CancellationToken cancel) =>
        (await notices.ListKeysAsync(null, 1, cancel)).Items is [var key] ? NoticeRecord.NumberOf(key) : 0;

    private async Task<bool> IsPostedAsync(string id, long after, CancellationToken cancel)
    {
        Continuation? next = null;
        do
        {
            var page = await notices.ListOfAsync(NoticeRecord.KeyPrefix, next, PageSize, cancel);
            if (page.Items.Any(n => n.Number > after && n.Notice.Id == id))
                return true;
            next = page.Items is [.., var last] && last.Number <= after ? null : page.Next;
        }
        while (next is not null);
        return false;
    }

    /// <summary>Deletes some of what is not kept any more, with its claims.</summary>
    public async Task TrimAsync(CancellationToken cancel)
    {
        var last = await NewestAsync(cancel) - NoticeBoard.Kept;
        if (last < 1)
            return;
        Continuation? next = null;
        var trimmed = 0;
        do
        {
            var page = await notices.ListKeysAsync(next, PageSize, cancel);
            foreach (var key in page.Items.Where(key => NoticeRecord.NumberOf(key) <= last).Take(MaxTrimmed - trimmed))
            {
                await TrimAsync(key, cancel);
                trimmed++;
            }

            next = page.Next;
        }
        while (next is not null && trimmed < MaxTrimmed);
    }

    private async Task TrimAsync(string key, CancellationToken cancel)
    {
        if (await FindAsync(key, cancel) is not { } old)
            return;
        if (await claims.FindAsync(old.Value.Notice.Id, cancel) is { } claim)
            await claims.TryDeleteAsync(claim, cancel);
        await notices.TryDeleteAsync(old, cancel);
    }

    private async Task<Stored<NoticeRecord>?> FindAsync(string key, CancellationToken cancel)
    {
        try
        {
            return await notices.FindAsync(key, cancel);
        }
        catch (UnreadableRowException)
        {
            return null; // reported where rows are read; it stays, for whoever repairs it
        }
    }

    public void Dispose() => _posting.Dispose();
}
