namespace Keylime.Functions.Hosting;

/// <summary>Work that comes again and again: by a timer of this process, or where the Functions host runs it, by the host's.</summary>
internal static partial class Repeating
{
    /// <summary>Does the work each time that the interval has gone by and this process leads, for as long as the service lives. A run ends when the lead does, and goes on with whoever follows.</summary>
    public static async Task RepeatAsync(this ILeader leader, string name, TimeSpan interval, TimeProvider clock, Func<CancellationToken, Task> work, ILogger log, CancellationToken stopping)
    {
        using var timer = new PeriodicTimer(interval, clock);
        while (await timer.WaitForNextTickAsync(stopping))
        {
            if (leader.Term is not { } term)
                continue;
            using var either = CancellationTokenSource.CreateLinkedTokenSource(stopping, term);
            LogBegins(log, name);
            try
            {
                await work(either.Token);
            }
            catch (OperationCanceledException) when (term.IsCancellationRequested && !stopping.IsCancellationRequested)
            {
                // another one goes on
            }
#pragma warning disable CA1031 // The outermost loop of the timer: what one run met must not be the end of all.
            catch (Exception e) when (!stopping.IsCancellationRequested)
#pragma warning restore CA1031
            {
                LogFailed(log, e);
            }
            finally
            {
                LogEnds(log, name);
            }
        }
    }

    /// <summary>The route that the host's timer calls. Its answer is JSON and never empty, or the host would take the run for failed.</summary>
    public static void MapTrigger<T>(this IEndpointRouteBuilder routes, string path, string words, Func<T, CancellationToken, Task> work)
        where T : notnull => routes.MapPost(path, async (HttpContext context) =>
        {
            await work(context.RequestServices.GetRequiredService<T>(), context.RequestAborted);
            return TypedResults.Text("{}", MediaTypes.Json);
        }).Under(new(Caller.HostTrigger, ApiFamily.Own), new(words));

    [LoggerMessage(Level = LogLevel.Debug, Message = "A run of {Timer} begins")]
    private static partial void LogBegins(ILogger log, string timer);

    [LoggerMessage(Level = LogLevel.Debug, Message = "A run of {Timer} ends")]
    private static partial void LogEnds(ILogger log, string timer);

    [LoggerMessage(Level = LogLevel.Error, Message = "A run failed; the next one goes on where it was")]
    private static partial void LogFailed(ILogger log, Exception e);
}
