using System.Diagnostics;

namespace Keylime.Functions.Telemetry;

/// <summary>
/// Spans of the operations on one table of a store. Where nobody listens, or the request is not kept, an operation is the bare call: nothing is allocated for it.
/// </summary>
/// <param name="system">What the store is: <c>db.system.name</c> of OpenTelemetry's conventions for databases.</param>
/// <param name="table">Never a key in it.</param>
internal sealed class StoreSpans(string system, string table)
{
    /// <param name="state">All that the call needs: it captures nothing.</param>
    public Task<T> RunAsync<TState, T>(string operation, TState state, Func<TState, Task<T>> call) =>
        Traces.IsKept ? TracedAsync(operation, state, call) : call(state);

    public Task RunAsync<TState>(string operation, TState state, Func<TState, Task> call) =>
        Traces.IsKept ? TracedAsync(operation, (state, call), static async s =>
        {
            await s.call(s.state);
            return true;
        }) : call(state);

    private async Task<T> TracedAsync<TState, T>(string operation, TState state, Func<TState, Task<T>> call)
    {
        using var span = Traces.Source.StartActivity($"{operation} {table}", ActivityKind.Client);
        span?.SetTag("db.system.name", system).SetTag("db.operation.name", operation).SetTag("db.collection.name", table);
        try
        {
            return await call(state);
        }
        catch (Exception e) when (Failed(span, e))
        {
            throw new UnreachableException();
        }
    }

    // Looks, and lets it pass.
    private static bool Failed(Activity? span, Exception e)
    {
        span?.Fail(e);
        return false;
    }
}
