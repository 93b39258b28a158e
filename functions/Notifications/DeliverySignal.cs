namespace Keylime.Functions.Notifications;

/// <summary>Says in this process that something was put into the queue of deliveries. Nothing depends on it: somebody looks into the queue every few seconds anyway.</summary>
internal sealed class DeliverySignal : IDisposable
{
    private readonly SemaphoreSlim _raised = new(0, 1);

    public void Raise()
    {
        try
        {
            _raised.Release();
        }
        catch (SemaphoreFullException)
        {
            // raised already, and not seen yet
        }
    }

    /// <returns>When it was raised, or after <paramref name="most"/> by the clock.</returns>
    public async Task WaitAsync(TimeSpan most, TimeProvider clock, CancellationToken cancel)
    {
        using var limit = new CancellationTokenSource(most, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancel);
        try
        {
            await _raised.WaitAsync(either.Token);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            // time is up
        }
    }

    public void Dispose() => _raised.Dispose();
}
