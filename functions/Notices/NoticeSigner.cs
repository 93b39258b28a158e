using System.Text;
using Keylime.Functions.Keys;
using Keylime.Functions.Storage;
using Keylime.Protocol.Notices;

namespace Keylime.Functions.Notices;

/// <summary>Has the vault sign notices. That it does not answer holds up the notice and nothing else: least of all the verdict that it tells of.</summary>
internal sealed partial class NoticeSigner(IVault vault, TimeProvider clock, ILogger<NoticeSigner> log)
{
    private const int MaxTries = 3;

    private string? _version;
    private long _notBefore; // in ticks

    /// <returns>The notice as it is sent; <see langword="null"/> if the vault did not sign.</returns>
    public async Task<string?> TrySignAsync(Notice notice, CancellationToken cancel)
    {
        if (clock.GetUtcNow().UtcTicks < Interlocked.Read(ref _notBefore))
            return null;
        try
        {
            // The header names the key before it has signed: where another version did, because the key was rotated, it is named and signs once more.
            var version = Volatile.Read(ref _version) ?? (await vault.SigningKeyAsync(cancel)).Version;
            for (var tries = 0; tries < MaxTries; tries++)
            {
                var input = SignedNotice.SigningInput(notice, version);
                var signature = await vault.SignAsync(Encoding.ASCII.GetBytes(input), cancel);
                if (signature.Version == version)
                {
                    Volatile.Write(ref _version, version);
                    return SignedNotice.Join(input, signature.Signature.Span);
                }

                version = signature.Version;
            }

            LogUnsigned(log, notice.Number, "its key changes at this moment");
        }
        catch (VaultUnavailableException e)
        {
            Interlocked.Exchange(ref _notBefore, (clock.GetUtcNow() + (e.RetryAfter ?? Recent<object>.Kept)).UtcTicks);
            LogUnsigned(log, notice.Number, e.Message);
        }

        return null;
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "The vault does not sign notice {Number}: {Why} It is kept, and signed when the vault answers; machines hear of it then, and of those behind it")]
    private static partial void LogUnsigned(ILogger log, long number, string why);
}
