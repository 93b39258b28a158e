using System.Diagnostics.CodeAnalysis;
using Keylime.Attestation;
using Keylime.Functions.Storage;
using Keylime.Tpm;

namespace Keylime.Functions.Verifier;

/// <summary>
/// Attestation keys of nodes, parsed and ready to verify with, by their names. A key is lent to one request at a time. There are two generations: what is used moves into the newer one, and
/// once that is full the older one is forgotten.
/// </summary>
/// <param name="capacity">Keys in one generation; a key takes a few KB.</param>
internal sealed class AttestationKeyCache(int capacity = AttestationKeyCache.Capacity) : IDisposable
{
    private const int Capacity = 4096;

    private readonly Lock _lock = new();
    private Dictionary<string, AttestationKey> _newer = [];
    private Dictionary<string, AttestationKey> _older = [];

    /// <summary>The key that the node is pinned to. Disposing what is lent gives it back.</summary>
    /// <exception cref="TpmFormatException">The row has a key that is none.</exception>
    public bool TryLend(Node node, [NotNullWhen(true)] out Lent? lent, [NotNullWhen(false)] out Finding? refusal)
    {
        var name = Convert.ToHexString(node.AttestationKeyName.Span);
        if (Take(name) is { } known)
        {
            (lent, refusal) = (new Lent(this, name, known), null);
            return true;
        }

        lent = AttestationKey.TryCreate(PublicArea.Parse(node.AttestationKey.Span), out var key, out refusal) ? new Lent(this, name, key) : null;
        return lent is not null;
    }

    public void Dispose()
    {
        lock (_lock)
        {
            foreach (var key in _newer.Values.Concat(_older.Values))
                key.Dispose();
            (_newer, _older) = ([], []);
        }
    }

    private AttestationKey? Take(string name)
    {
        lock (_lock)
            return _newer.Remove(name, out var key) || _older.Remove(name, out key) ? key : null;
    }

    private void GiveBack(string name, AttestationKey key)
    {
        // The name is made of the key: what a row says otherwise is not remembered.
        var forgotten = Convert.ToHexString(key.Name.Span) == name ? [] : new Dictionary<string, AttestationKey> { [name] = key };
        lock (_lock)
        {
            if (forgotten.Count == 0 && !_newer.TryAdd(name, key))
                forgotten.Add(name, key); // lent twice: one is enough
            if (_newer.Count >= capacity)
                (forgotten, _older, _newer) = (Merged(forgotten, _older), _newer, []);
        }

        foreach (var one in forgotten.Values)
            one.Dispose();
    }

    private static Dictionary<string, AttestationKey> Merged(Dictionary<string, AttestationKey> one, Dictionary<string, AttestationKey> other)
    {
        foreach (var (name, key) in one)
        {
            if (!other.TryAdd(name, key))
                key.Dispose();
        }

        return other;
    }

    /// <summary>A key that nobody else uses meanwhile.</summary>
    internal sealed class Lent(AttestationKeyCache cache, string name, AttestationKey key) : IDisposable
    {
        public AttestationKey Key => key;

        public void Dispose() => cache.GiveBack(name, key);
    }
}
