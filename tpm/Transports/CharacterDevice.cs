namespace Keylime.Tpm.Transports;

/// <summary>The kernel's TPM: one write is one command, one read is one response.</summary>
internal sealed class CharacterDevice : ITpmDevice
{
    private readonly FileStream _file;

    public CharacterDevice(string path) =>
        _file = new FileStream(path, new FileStreamOptions
        {
            Mode = FileMode.Open,
            Access = FileAccess.ReadWrite,
            Share = FileShare.ReadWrite,
            BufferSize = 0, // a buffer would split or join what the driver wants whole
        });

    public ValueTask DisposeAsync() => _file.DisposeAsync();

    public async ValueTask<ReadOnlyMemory<byte>> SendAsync(ReadOnlyMemory<byte> command, CancellationToken cancel)
    {
        await _file.WriteAsync(command, cancel).ConfigureAwait(false);

        // The driver gives a response whole, and what one read does not take is lost.
        var buffer = new byte[ResponseReader.MaxResponse];
        var read = await _file.ReadAsync(buffer, cancel).ConfigureAwait(false);
        return read > 0 ? buffer.AsMemory(0, read) : throw new IOException($"{_file.Name} gave no response.");
    }
}
