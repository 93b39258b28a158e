namespace Keylime.Tpm;

/// <summary>A TPM that takes a command and gives a response: a device, a simulator, a recording.</summary>
public interface ITpmDevice : IAsyncDisposable
{
    /// <summary>Sends one command and waits for its whole response.</summary>
    /// <exception cref="IOException">The device is gone, or its answer is not one response.</exception>
    ValueTask<ReadOnlyMemory<byte>> SendAsync(ReadOnlyMemory<byte> command, CancellationToken cancel);
}
