namespace Keylime.Protocol.Payloads;

/// <summary>The bytes are no sealed payload, or none of this key: what is wrong, and at which byte of the sealed stream.</summary>
public sealed class PayloadFormatException(string what, long position) : Exception($"{what} at byte {position}.")
{
    public long Position { get; } = position;
}
