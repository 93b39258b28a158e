using System.Security.Cryptography;
using System.Text;
using Keylime.Attestation;
using Keylime.Functions.Keys;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Policies;

/// <summary>
/// Large runtime policies in the form that they are judged with, each made once of its text and kept beside it: an instance that starts maps it and judges. A form is believed if the
/// row that names it is under our key ring. What is missing, of another version or damaged is no error: the text is there, and the form is made again.
/// </summary>
internal sealed partial class CompiledForms(IBlobStore blobs, IRecordStore<CompiledForm> rows, IKeyRing keys, ILogger<CompiledForms> log)
{
    /// <summary>In bytes. A text below it is read in less time than another blob takes to come.</summary>
    public const int LeastText = 256 * 1024;

    private const int MaxTries = 3;
    private const string Purpose = "compiled policy";

    /// <returns><see langword="null"/> if there is no form that can be used.</returns>
    public async Task<RuntimePolicy?> FindAsync(string textDigest, CancellationToken cancel)
    {
        if (await FindRowAsync(textDigest, cancel) is not { Value: var row } || !IsOurs(row))
            return null;
        try
        {
            if (await blobs.MapAsync(row.Blob, cancel) is not { } bytes)
                LogUnusable(log, textDigest, "There is no such blob, or its bytes are not what its name says.");
            else if (RuntimePolicy.TryOpen(bytes, Convert.FromHexString(textDigest), out var policy, out var error))
                return policy;
            else
                LogUnusable(log, textDigest, error);
        }
        catch (StorageUnavailableException e)
        {
            LogUnusable(log, textDigest, e.Message); // a full disk, perhaps; if it is the store itself, the text will not come either
        }

        return null;
    }

    /// <summary>Whether the text is known to be a large runtime policy, without looking at it.</summary>
    public async Task<bool> HasAsync(string textDigest, CancellationToken cancel) =>
        await FindRowAsync(textDigest, cancel) is { Value: var row } && IsOurs(row);

    /// <summary>Makes the form of a policy and keeps it; of a small one, or one of layers, there is none.</summary>
    /// <param name="seal">Of the text's envelope, where it came in one.</param>
    /// <exception cref="StorageUnavailableException">It could not be kept; the policy can be used all the same.</exception>
    public async Task<bool> KeepAsync(string textDigest, long textLength, RuntimePolicy policy, DsseSeal? seal, CancellationToken cancel)
    {
        if (textLength < LeastText || policy.IsLayered)
            return false;

        // The blob first: a row that points to nothing is a look in vain for everybody.
        var key = CompiledForm.KeyOf(textDigest, RuntimePolicy.CompiledVersion);
        var blob = await blobs.PutAsync(policy.Compile(Convert.FromHexString(textDigest), seal), cancel);
        var form = new CompiledForm { Key = key, Blob = blob, Mac = MacOf(key, blob) };
        for (var tries = 0; tries < MaxTries; tries++)
        {
            var stored = await FindRowAsync(textDigest, cancel);
            if (stored?.Value is { } row && row.Blob == blob && IsOurs(row))
                return true;
            if (stored is null ? await rows.TryAddAsync(form, cancel) : await rows.TryReplaceAsync(stored, form, cancel))
                return true;
        }

        return false; // somebody keeps the same form at this moment
    }

    private async Task<Stored<CompiledForm>?> FindRowAsync(string textDigest, CancellationToken cancel)
    {
        try
        {
            return await rows.FindAsync(CompiledForm.KeyOf(textDigest, RuntimePolicy.CompiledVersion), cancel);
        }
        catch (UnreadableRowException e)
        {
            LogUnusable(log, textDigest, e.Message);
            return null;
        }
    }

    private bool IsOurs(CompiledForm row)
    {
        if (IsDigest(row.Blob) && CryptographicOperations.FixedTimeEquals(MacOf(row.Key, row.Blob), row.Mac.Span))
            return true;
        LogUnusable(log, row.Key, "Its row is not one that this service wrote.");
        return false;
    }

    // Key and name have fixed forms, so a space tells them apart.
    private byte[] MacOf(string key, string blob) => keys.Authenticate(Purpose, Encoding.UTF8.GetBytes($"{key} {blob}"));

    private static bool IsDigest(string text) => text.Length == 2 * SHA256.HashSizeInBytes && text.All(char.IsAsciiHexDigitLower);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The compiled form of the policy {Digest} cannot be used, so the policy's text is read: {Why}")]
    private static partial void LogUnusable(ILogger log, string digest, string why);
}
