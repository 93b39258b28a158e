namespace Keylime.Tpm.Transports;

/// <summary>
/// A TPM behind the kernel: <c>/dev/tpmrm0</c> or <c>/dev/tpm0</c>. A command is one write and its response is one read, for
/// the driver knows no other boundaries; the open file is the session, whose objects the resource manager keeps.
/// </summary>
internal sealed class CharacterDevice : ITpmDevice
{
    private readonly string _path;
    private readonly FileStream _file;
    private readonly SemaphoreSlim _oneAtATime = new(1);
    private bool _isLost; // a command was left without its response, which the next read would take for its own

    private CharacterDevice(string path, FileStream file) => (_path, _file) = (path, file);

    public static CharacterDevice Open(string path)
    {
        try
        {
            // Without a buffer: each write is one of the kernel's, and so is each read.
            return new CharacterDevice(path, new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new TpmDeviceException($"There is no TPM device {path}.", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new TpmDeviceException(
                $"The TPM device {path} may not be opened for reading and writing by this user; on most systems the group tss may.", e);
        }
        catch (IOException e)
        {
            throw new TpmDeviceException($"The TPM device {path} cannot be opened: {e.Message}", e);
        }
    }

    public async ValueTask<ReadOnlyMemory<byte>> SendAsync(ReadOnlyMemory<byte> command, CancellationToken cancel)
    {
        await _oneAtATime.WaitAsync(cancel).ConfigureAwait(false);
        try
        {
            if (_isLost)
                throw new TpmDeviceException($"The TPM device {_path} was left in the middle of a command; open it again.");
            _isLost = true;
            var response = await ExchangeAsync(command, cancel).ConfigureAwait(false);
            _isLost = false;
            return response;
        }
        finally
        {
            _oneAtATime.Release();
        }
    }

    public ValueTask DisposeAsync()
    {
        _file.Dispose(); // closes when a read that was given up has ended
        return ValueTask.CompletedTask;
    }

    private async Task<ReadOnlyMemory<byte>> ExchangeAsync(ReadOnlyMemory<byte> command, CancellationToken cancel)
    {
        // The kernel blocks until the TPM has answered, and no signal ends that: who cancels goes, and the wait stays behind.
        var owned = command.ToArray();
        var response = new byte[ResponseFrame.MaxSize];
        try
        {
            await _file.WriteAsync(owned, cancel).AsTask().WaitAsync(cancel).ConfigureAwait(false);
            var size = await _file.ReadAsync(response, cancel).AsTask().WaitAsync(cancel).ConfigureAwait(false);
            return ResponseFrame.Check(response.AsMemory(0, size));
        }
        catch (Exception e) when (e is not TpmDeviceException and (IOException or UnauthorizedAccessException))
        {
            throw new TpmDeviceException($"The TPM device {_path} failed: {e.Message}", e);
        }
    }
}
