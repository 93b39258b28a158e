using Keylime.Tpm;

namespace Keylime.Testing;

/// <summary>A TPM that says the same whatever it is asked.</summary>
public sealed class CannedTpm(byte[] response) : ITpmDevice
{
    public ValueTask<ReadOnlyMemory<byte>> SendAsync(ReadOnlyMemory<byte> command, CancellationToken cancel) => ValueTask.FromResult<ReadOnlyMemory<byte>>(response);

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
