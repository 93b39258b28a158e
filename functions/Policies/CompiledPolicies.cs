using Keylime.Attestation;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Policies;

/// <summary>Policies ready to judge with, by the digest of their text. The ones used last stay in memory, a few of them, until who signs them may have changed.</summary>
internal sealed partial class CompiledPolicies(IBlobStore blobs, PolicyTexts texts, ServiceOptions options, TimeProvider clock, ILogger<CompiledPolicies> log)
{
    private const int Capacity = 16;

    // Where signatures are required: other instances change the list of signers too, and certificates expire.
    private static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(5);

    private readonly Lock _lock = new();
    private readonly LinkedList<(string Digest, PolicyReading Policy, DateTimeOffset Until)> _recent = new();

    /// <returns><see langword="null"/> if there is no such text, or it is no runtime policy.</returns>
    public async Task<RuntimePolicy?> FindRuntimeAsync(string digest, CancellationToken cancel) =>
        (await ReadAsync(digest, cancel) as PolicyReading.Runtime)?.Policy;

    /// <returns><see langword="null"/> if there is no such text, or it is no boot policy.</returns>
    public async Task<BootPolicy?> FindBootAsync(string digest, CancellationToken cancel) =>
        (await ReadAsync(digest, cancel) as PolicyReading.Boot)?.Policy;

    /// <returns><see langword="null"/> if there is no such text; a refusal says what is wrong with it.</returns>
    public async Task<PolicyReading?> ReadAsync(string digest, CancellationToken cancel)
    {
        var now = clock.GetUtcNow();
        if (Remembered(digest, now) is { } known)
            return known;
        if (await blobs.FindAsync(digest, cancel) is not { } text)
        {
            LogUnusable(log, digest, "There is no such blob, or its bytes are not what its name says.");
            return null;
        }

        var reading = await texts.ReadAsync(text, cancel);
        if (reading is PolicyReading.Refused { Error: var error })
            LogUnusable(log, digest, error);
        else
            Remember(digest, reading, options.RequireSignedPolicies ? now + Lifetime : DateTimeOffset.MaxValue);
        return reading;
    }

    /// <summary>Signers have changed: what they signed is read anew.</summary>
    public void Forget()
    {
        lock (_lock)
            _recent.Clear();
    }

    private PolicyReading? Remembered(string digest, DateTimeOffset now)
    {
        lock (_lock)
        {
            for (var node = _recent.First; node is not null; node = node.Next)
            {
                if (node.Value.Digest != digest)
                    continue;
                _recent.Remove(node);
                if (node.Value.Until <= now)
                    return null;
                _recent.AddFirst(node);
                return node.Value.Policy;
            }

            return null;
        }
    }

    private void Remember(string digest, PolicyReading policy, DateTimeOffset until)
    {
        lock (_lock)
        {
            _recent.AddFirst((digest, policy, until)); // twice, when two requests compiled it at once: the older one drops out
            if (_recent.Count > Capacity)
                _recent.RemoveLast();
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "The policy {Digest} cannot be used: {Why}")]
    private static partial void LogUnusable(ILogger log, string digest, string why);
}
