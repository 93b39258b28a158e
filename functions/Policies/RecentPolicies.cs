using Keylime.Functions.Hosting;

namespace Keylime.Functions.Policies;

/// <summary>
/// Policies that are ready to judge with, by the digest of their text: those used last, so many bytes of them. Whoever needs one that is not there waits for the one who reads it.
/// A policy is there once, however many others have it as a layer.
/// </summary>
internal sealed class RecentPolicies(ServiceOptions options, TimeProvider clock)
{
    private readonly Lock _lock = new();
    private readonly LinkedList<(string Digest, KnownPolicy Policy)> _recent = new();
    private readonly Dictionary<string, LinkedListNode<(string Digest, KnownPolicy Policy)>> _byDigest = [];
    private readonly Dictionary<string, Task<KnownPolicy?>> _underway = [];
    private int _round;

    /// <summary>Bytes of what is here.</summary>
    public long Held { get; private set; }

    /// <param name="read">Reads it; <see langword="null"/> for what there is not. What is refused is not kept.</param>
    public async ValueTask<KnownPolicy?> GetAsync(string digest, Func<Task<KnownPolicy?>> read, CancellationToken cancel)
    {
        Task<KnownPolicy?>? reading;
        lock (_lock)
        {
            if (_byDigest.TryGetValue(digest, out var node))
            {
                if (node.Value.Policy.Until > clock.GetUtcNow())
                {
                    Touch(node);
                    return node.Value.Policy;
                }

                Drop(node);
            }

            if (!_underway.TryGetValue(digest, out reading))
            {
                var round = _round;
                _underway[digest] = reading = Task.Run(() => ReadAsync(digest, read, round), CancellationToken.None);
            }
        }

        return await reading.WaitAsync(cancel); // of many who wait one may give up: the others still want it
    }

    /// <summary>Everything is read anew, also what is being read now.</summary>
    public void Forget()
    {
        lock (_lock)
        {
            _round++;
            _underway.Clear();
            _recent.Clear();
            _byDigest.Clear();
            Held = 0;
        }
    }

    private async Task<KnownPolicy?> ReadAsync(string digest, Func<Task<KnownPolicy?>> read, int round)
    {
        KnownPolicy? policy = null;
        try
        {
            return policy = await read();
        }
        finally
        {
            lock (_lock)
            {
                if (round == _round)
                {
                    _underway.Remove(digest);
                    if (policy is { Reading: not PolicyReading.Refused })
                        Keep(digest, policy);
                }
            }
        }
    }

    private void Keep(string digest, KnownPolicy policy)
    {
        var node = _recent.AddFirst((digest, policy));
        _byDigest[digest] = node;
        Held += policy.Size;
        Touch(node);
        while (Held > options.PolicyMemory && _recent.Last is { } last && last != _recent.First)
            Drop(last);
    }

    // Its parts stand before it: what is dropped first is never what another still here is made of.
    private void Touch(LinkedListNode<(string Digest, KnownPolicy Policy)> node)
    {
        MoveFirst(node);
        foreach (var part in node.Value.Policy.Parts)
        {
            if (_byDigest.TryGetValue(part, out var known))
                MoveFirst(known);
        }
    }

    private void MoveFirst(LinkedListNode<(string Digest, KnownPolicy Policy)> node)
    {
        if (node == _recent.First)
            return;
        _recent.Remove(node);
        _recent.AddFirst(node);
    }

    private void Drop(LinkedListNode<(string Digest, KnownPolicy Policy)> node)
    {
        _recent.Remove(node);
        _byDigest.Remove(node.Value.Digest);
        Held -= node.Value.Policy.Size;
    }
}
