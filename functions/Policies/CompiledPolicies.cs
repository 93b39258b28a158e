using Keylime.Attestation;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Policies;

/// <summary>Runtime policies ready to judge with, by the digest of their text. The ones used last stay in memory, a few of them.</summary>
internal sealed partial class CompiledPolicies(IBlobStore blobs, ILogger<CompiledPolicies> log)
{
    private const int Capacity = 16;

    private readonly Lock _lock = new();
    private readonly LinkedList<(string Digest, RuntimePolicy Policy)> _recent = new();

    /// <returns><see langword="null"/> if there is no such text, or it is no policy.</returns>
    public async Task<RuntimePolicy?> FindAsync(string digest, CancellationToken cancel)
    {
        if (Remembered(digest) is { } known)
            return known;
        if (await blobs.FindAsync(digest, cancel) is not { } text)
        {
            LogUnusable(log, digest, "There is no such blob, or its bytes are not what its name says.");
            return null;
        }

        if (!RuntimePolicy.TryParse(text, out var policy, out var error))
        {
            LogUnusable(log, digest, error);
            return null;
        }

        Remember(digest, policy);
        return policy;
    }

    private RuntimePolicy? Remembered(string digest)
    {
        lock (_lock)
        {
            for (var node = _recent.First; node is not null; node = node.Next)
            {
                if (node.Value.Digest != digest)
                    continue;
                _recent.Remove(node);
                _recent.AddFirst(node);
                return node.Value.Policy;
            }

            return null;
        }
    }

    private void Remember(string digest, RuntimePolicy policy)
    {
        lock (_lock)
        {
            _recent.AddFirst((digest, policy)); // twice, when two requests compiled it at once: the older one drops out
            if (_recent.Count > Capacity)
                _recent.RemoveLast();
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "The runtime policy {Digest} cannot be used: {Why}")]
    private static partial void LogUnusable(ILogger log, string digest, string why);
}
