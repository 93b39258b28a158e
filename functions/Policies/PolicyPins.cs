using System.Collections.Concurrent;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Policies;

/// <summary>Which text a policy's name stands for, as this process knew it a few seconds ago: an attestation need not ask the store. A name without a text is looked up each time.</summary>
internal sealed class PolicyPins(IRecordStore<PolicyRecord> policies, TimeProvider clock)
{
    private const int Capacity = 4096;

    private readonly ConcurrentDictionary<string, Pin> _pins = new();

    /// <returns>The digest of the text in force; <see langword="null"/> where there is none, or no such policy.</returns>
    public async ValueTask<string?> DigestAsync(string name, CancellationToken cancel)
    {
        if (_pins.TryGetValue(name, out var pin) && clock.GetElapsedTime(pin.Since) < Recent<string>.Kept)
            return pin.Digest;
        var since = clock.GetTimestamp(); // before the store is asked: what changes meanwhile is old no later than it would be
        var digest = (await policies.FindAsync(name, cancel))?.Value.Digest;
        if (digest is null)
        {
            _pins.TryRemove(name, out _);
            return null;
        }

        if (_pins.Count >= Capacity)
            _pins.Clear();
        _pins[name] = new Pin(digest, since);
        return digest;
    }

    /// <summary>It has changed here: the next to ask sees it.</summary>
    public void Forget(string name) => _pins.TryRemove(name, out _);

    private sealed record Pin(string Digest, long Since);
}
