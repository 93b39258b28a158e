using System.Diagnostics;
using Keylime.Functions.Keys;

namespace Keylime.Functions.Telemetry;

/// <summary>The vault, with a span and a count for each call. What is known of a key from a call before is a call too: it says that the vault would have been asked.</summary>
internal sealed class WatchedVault(IVault inner, Instruments instruments) : IVault, IDisposable
{
    public Task<VaultKey> WrappingKeyAsync(CancellationToken cancel) => RunAsync("get_wrapping_key", (inner, cancel), static s => s.inner.WrappingKeyAsync(s.cancel));

    public Task<Unwrapped> UnwrapAsync(string version, ReadOnlyMemory<byte> wrapped, CancellationToken cancel) =>
        RunAsync("unwrap", (inner, version, wrapped, cancel), static s => s.inner.UnwrapAsync(s.version, s.wrapped, s.cancel));

    public Task<VaultKey> RotateWrappingKeyAsync(CancellationToken cancel) => RunAsync("rotate", (inner, cancel), static s => s.inner.RotateWrappingKeyAsync(s.cancel));

    public Task<VaultKey> SigningKeyAsync(CancellationToken cancel) => RunAsync("get_signing_key", (inner, cancel), static s => s.inner.SigningKeyAsync(s.cancel));

    public Task<VaultSignature> SignAsync(ReadOnlyMemory<byte> data, CancellationToken cancel) =>
        RunAsync("sign", (inner, data, cancel), static s => s.inner.SignAsync(s.data, s.cancel));

    public void Dispose() => (inner as IDisposable)?.Dispose();

    private async Task<T> RunAsync<TState, T>(string operation, TState state, Func<TState, Task<T>> call)
    {
        using var span = Traces.IsKept ? Traces.Source.StartActivity($"vault {operation}", ActivityKind.Client) : null;
        span?.SetTag("keylime.vault.operation", operation);
        var result = "unavailable";
        try
        {
            var answer = await call(state);
            result = answer is Unwrapped.NoSuchVersion or Unwrapped.NotWrapped ? "refused" : "ok";
            return answer;
        }
        catch (VaultUnavailableException e)
        {
            span?.Fail(e);
            throw;
        }
        catch (OperationCanceledException)
        {
            result = "cancelled";
            throw;
        }
        finally
        {
            span?.SetTag("keylime.vault.result", result);
            instruments.VaultCalled(operation, result);
        }
    }
}
