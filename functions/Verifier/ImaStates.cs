using System.Security.Cryptography;
using Keylime.Attestation;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Verifier;

/// <summary>
/// What measurement lists have taught, by its digest: in the blobs, and what was used last in memory too, so that a node whose list teaches nothing new reads and writes no blob. There are two
/// generations: what is used moves into the newer one, and once that is full the older one is forgotten.
/// </summary>
/// <param name="capacity">States in one generation.</param>
internal sealed class ImaStates(IBlobStore blobs, int capacity = ImaStates.Capacity)
{
    private const int Capacity = 512;
    private const int MostBytes = 32 * 1024; // of one that is kept in memory; machines of one kind share theirs

    private readonly Lock _lock = new();
    private Dictionary<string, ImaState> _newer = [];
    private Dictionary<string, ImaState> _older = [];

    /// <returns><see langword="null"/> if it is not there, or is none.</returns>
    /// <exception cref="StorageUnavailableException">The blobs do not answer.</exception>
    public async ValueTask<ImaState?> FindAsync(string digest, CancellationToken cancel)
    {
        if (Known(digest) is { } known)
            return known;
        if (await blobs.FindAsync(digest, cancel) is not { } bytes || !ImaState.TryDecode(bytes.Span, out var state, out _))
            return null;
        Keep(digest, state, bytes.Length);
        return state;
    }

    /// <returns>Its digest, in hex; <see langword="null"/> of one that is empty.</returns>
    /// <exception cref="StorageUnavailableException">It cannot be kept.</exception>
    public async ValueTask<string?> PutAsync(ImaState state, CancellationToken cancel)
    {
        if (state.IsEmpty)
            return null;
        var bytes = state.Encode();
        var digest = Convert.ToHexStringLower(SHA256.HashData(bytes));
        if (Known(digest) is not null)
            return digest;
        await blobs.PutAsync(bytes, cancel);
        Keep(digest, state, bytes.Length); // after it: what is here is in the blobs
        return digest;
    }

    private ImaState? Known(string digest)
    {
        lock (_lock)
        {
            if (_newer.TryGetValue(digest, out var state))
                return state;
            if (_older.TryGetValue(digest, out state))
                Add(digest, state);
            return state;
        }
    }

    private void Keep(string digest, ImaState state, int length)
    {
        if (length > MostBytes)
            return;
        lock (_lock)
            Add(digest, state);
    }

    private void Add(string digest, ImaState state)
    {
        if (_newer.Count >= capacity)
            (_older, _newer) = (_newer, []);
        _newer[digest] = state;
    }
}
