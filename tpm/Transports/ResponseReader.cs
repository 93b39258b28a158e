using System.Buffers.Binary;

namespace Keylime.Tpm.Transports;

/// <summary>Reads one response from a stream: its header says how long it is.</summary>
internal static class ResponseReader
{
    /// <summary>The largest response of any TPM known (MAX_RESPONSE_SIZE of the PC Client platform), in bytes.</summary>
    public const int MaxResponse = 4096;

    private const int HeaderSize = 10;

    public static async ValueTask<ReadOnlyMemory<byte>> ReadAsync(Stream stream, CancellationToken cancel)
    {
        var buffer = new byte[MaxResponse];
        try
        {
            await stream.ReadExactlyAsync(buffer.AsMemory(0, HeaderSize), cancel).ConfigureAwait(false);
            var size = BinaryPrimitives.ReadUInt32BigEndian(buffer.AsSpan(2));
            if (size is < HeaderSize or > MaxResponse)
                throw new IOException($"The TPM announced a response of {size} bytes; {HeaderSize} to {MaxResponse} are expected.");

            await stream.ReadExactlyAsync(buffer.AsMemory(HeaderSize, (int)size - HeaderSize), cancel).ConfigureAwait(false);
            return buffer.AsMemory(0, (int)size);
        }
        catch (EndOfStreamException e)
        {
            throw new IOException("The TPM ended the connection in the middle of a response.", e);
        }
    }
}
