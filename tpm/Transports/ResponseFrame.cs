using System.Buffers.Binary;

namespace Keylime.Tpm.Transports;

/// <summary>The size in a response's header (Part 1, 18.9), held against its bounds and the bytes that came.</summary>
internal static class ResponseFrame
{
    public const int HeaderSize = 10;

    /// <summary>No command and no response of any TPM is larger (TPM_PT_MAX_COMMAND_SIZE and its sister are 4096 at most).</summary>
    public const int MaxSize = 4096;

    private const int SizeOffset = 2;

    public static int ReadSize(ReadOnlySpan<byte> header)
    {
        var size = BinaryPrimitives.ReadUInt32BigEndian(header[SizeOffset..]);
        if (size is < HeaderSize or > MaxSize)
            throw new TpmDeviceException($"A response says it has {size} bytes; {HeaderSize} to {MaxSize} are expected.");
        return (int)size;
    }

    public static ReadOnlyMemory<byte> Check(ReadOnlyMemory<byte> response)
    {
        if (response.Length < HeaderSize)
            throw new TpmDeviceException($"A response of {response.Length} bytes; {HeaderSize} at least are expected.");
        if (ReadSize(response.Span) is var said && said != response.Length)
            throw new TpmDeviceException($"A response of {response.Length} bytes says it has {said}.");
        return response;
    }
}
