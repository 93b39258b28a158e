using Keylime.Functions.Keys;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Hosting;

/// <summary>The outermost loop: what goes wrong becomes a status, in the shape of the API called, and a line in the log.</summary>
internal sealed partial class Failures(RequestDelegate next, ILogger<Failures> log)
{
    private const int RetrySeconds = 5;

    public async Task InvokeAsync(HttpContext context)
    {
        try
        {
            await next(context);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The caller has gone; there is nobody to answer.
        }
        catch (StorageUnavailableException e) when (!context.Response.HasStarted)
        {
            LogStorage(log, e.Message);
            await new Refusal(StatusCodes.Status503ServiceUnavailable, "storage_unavailable", "The store does not answer. Nothing was decided; try again.")
            { RetryAfter = RetrySeconds }.ExecuteAsync(context);
        }
        catch (VaultUnavailableException e) when (!context.Response.HasStarted)
        {
            LogVault(log, e.Message);
            await new Refusal(StatusCodes.Status503ServiceUnavailable, "vault_unavailable", "The vault does not answer. Nothing was released; try again.")
            { RetryAfter = (int)Math.Ceiling((e.RetryAfter ?? TimeSpan.FromSeconds(RetrySeconds)).TotalSeconds) }.ExecuteAsync(context);
        }
        catch (BadHttpRequestException e) when (!context.Response.HasStarted)
        {
            await new Refusal(e.StatusCode, "invalid_request", "The request could not be read.").ExecuteAsync(context);
        }
        catch (Exception e) when (!context.Response.HasStarted)
        {
            LogUnexpected(log, e);
            await new Refusal(StatusCodes.Status500InternalServerError, "internal_error", "Something is wrong here, not with the request.").ExecuteAsync(context);
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "The store does not answer: {Why}")]
    private static partial void LogStorage(ILogger log, string why);

    [LoggerMessage(Level = LogLevel.Error, Message = "The vault does not answer: {Why}")]
    private static partial void LogVault(ILogger log, string why);

    [LoggerMessage(Level = LogLevel.Error, Message = "A request met a bug")]
    private static partial void LogUnexpected(ILogger log, Exception e);
}
