namespace Keylime.Protocol.Payloads;

/// <summary>How a payload's ciphertext is cut for its way: hosts of functions bound a request's body, and nobody wants to hold 1 GB in memory.</summary>
public static class PayloadParts
{
    /// <summary>Of a part, in bytes; the last one may be smaller, and none is empty.</summary>
    public const int Size = 4 * 1024 * 1024;

    /// <summary>The largest plain content, in bytes.</summary>
    public const long MaxPlain = 1L << 30;
}
