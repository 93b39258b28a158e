using Keylime.Attestation;

namespace Keylime.Functions.Policies;

/// <summary>Policies ready to judge with, by the digest of their text.</summary>
internal sealed partial class CompiledPolicies(PolicyTexts texts, RecentPolicies recent, ILogger<CompiledPolicies> log)
{
    /// <returns><see langword="null"/> if there is no such text, or it is no runtime policy.</returns>
    public async Task<RuntimePolicy?> FindRuntimeAsync(string digest, CancellationToken cancel) =>
        (await ReadAsync(digest, cancel) as PolicyReading.Runtime)?.Policy;

    /// <returns><see langword="null"/> if there is no such text, or it is no boot policy.</returns>
    public async Task<BootPolicy?> FindBootAsync(string digest, CancellationToken cancel) =>
        (await ReadAsync(digest, cancel) as PolicyReading.Boot)?.Policy;

    /// <returns><see langword="null"/> if there is no such text; a refusal says what is wrong with it.</returns>
    public async Task<PolicyReading?> ReadAsync(string digest, CancellationToken cancel)
    {
        var reading = (await texts.FindAsync(digest, cancel))?.Reading;
        if (reading is null)
            LogUnusable(log, digest, "There is no such blob, or its bytes are not what its name says.");
        else if (reading is PolicyReading.Refused { Error: var error })
            LogUnusable(log, digest, error);
        return reading;
    }

    /// <summary>Signers have changed: what they signed is read anew.</summary>
    public void Forget() => recent.Forget();

    [LoggerMessage(Level = LogLevel.Error, Message = "The policy {Digest} cannot be used: {Why}")]
    private static partial void LogUnusable(ILogger log, string digest, string why);
}
