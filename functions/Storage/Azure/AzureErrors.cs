using Azure;

namespace Keylime.Functions.Storage.Azure;

/// <summary>What the client libraries throw, in our words.</summary>
internal static class AzureErrors
{
    /// <exception cref="StorageUnavailableException">The service refused, or could not be reached, after all retries.</exception>
    public static async Task<T> TranslateAsync<T>(Func<Task<T>> call)
    {
        try
        {
            return await call();
        }
        catch (RequestFailedException e)
        {
            throw Unavailable(e);
        }
        catch (AggregateException e) // of all the tries
        {
            throw Unavailable(e);
        }
        catch (global::Azure.Identity.AuthenticationFailedException e)
        {
            throw Unavailable(e);
        }
    }

    // The message of a RequestFailedException has the answer's headers and body behind its first line.
    private static StorageUnavailableException Unavailable(Exception e) =>
        new($"Azure Storage: {(e is RequestFailedException { Status: > 0 } refused ? $"{refused.Status} {refused.ErrorCode}. " : "")}{e.Message.Split('\n')[0].Trim()}", e);
}
