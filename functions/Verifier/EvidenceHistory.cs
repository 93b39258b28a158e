using Keylime.Functions.Storage;

namespace Keylime.Functions.Verifier;

/// <summary>Puts the evidence of a node's last boot together again from what its verdicts kept.</summary>
internal sealed class EvidenceHistory(IVerdictStore verdicts, IBlobStore blobs)
{
    private const int PageSize = 100;
    private const int MaxVerdicts = 100_000;
    private const long MaxBytes = 256L * 1024 * 1024;

    /// <summary>The newest proven boot log.</summary>
    public async Task<ReadOnlyMemory<byte>?> BootLogAsync(Node node, CancellationToken cancel) =>
        await NewestAsync(node, static v => v.Evidence?.BootLog is not null, cancel) is { Evidence.BootLog: { } digest } ? await blobs.FindAsync(digest, cancel) : null;

    /// <summary>The newest verdict that judged a boot log.</summary>
    public Task<VerdictRecord?> LastBootAsync(Node node, CancellationToken cancel) => NewestAsync(node, static v => v.Evidence?.BootLog is not null, cancel);

    public async Task<ReadOnlyMemory<byte>?> ImaLinesAsync(Node node, CancellationToken cancel) => (await LastListAsync(node, cancel))?.Lines;

    /// <summary>The newest proven measurement list, whole, and the verdict whose quote proves its end.</summary>
    /// <returns><see langword="null"/> where none is kept, or a piece of it is not there.</returns>
    public async Task<(VerdictRecord Last, ReadOnlyMemory<byte> Lines)?> LastListAsync(Node node, CancellationToken cancel)
    {
        VerdictRecord? last = null;
        var pieces = new List<string>();
        long wanted = -1;
        await foreach (var verdict in NewestFirstAsync(node, cancel))
        {
            if (verdict is not { Evidence.ImaLines: { } digest, Message: { ImaFrom: { } from, ImaTo: { } to } })
                continue;
            if (last is null)
                last = verdict;
            else if (to != wanted || !verdict.Pass || verdict.Message.Clock?.ResetCount != last.Message.Clock?.ResetCount)
                continue; // lines that were judged again later, by another policy or after a failure

            pieces.Add(digest);
            wanted = from;
            if (from == 0)
                break;
        }

        return last is not null && wanted == 0 && await JoinAsync(pieces, cancel) is { } lines ? (last, lines) : null;
    }

    private async Task<ReadOnlyMemory<byte>?> JoinAsync(List<string> newestFirst, CancellationToken cancel)
    {
        using var all = new MemoryStream();
        for (var i = newestFirst.Count - 1; i >= 0; i--)
        {
            if (await blobs.FindAsync(newestFirst[i], cancel) is not { } piece || all.Length + piece.Length > MaxBytes)
                return null;
            all.Write(piece.Span);
        }

        return all.ToArray();
    }

    private async Task<VerdictRecord?> NewestAsync(Node node, Func<VerdictRecord, bool> wanted, CancellationToken cancel)
    {
        await foreach (var verdict in NewestFirstAsync(node, cancel))
        {
            if (wanted(verdict))
                return verdict;
        }

        return null;
    }

    private async IAsyncEnumerable<VerdictRecord> NewestFirstAsync(Node node, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel)
    {
        Continuation? after = null;
        var seen = 0;
        do
        {
            var page = await verdicts.ListAsync(node.Id, after, PageSize, cancel);
            foreach (var verdict in page.Items)
                yield return verdict;
            seen += page.Items.Count;
            after = page.Next;
        }
        while (after is not null && seen < MaxVerdicts);
    }
}
