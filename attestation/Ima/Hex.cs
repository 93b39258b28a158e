using System.Buffers;

namespace Keylime.Attestation;

internal static class Hex
{
    public static readonly SearchValues<byte> Lower = SearchValues.Create("0123456789abcdef"u8);

    /// <summary>Decodes hex that <see cref="Lower"/> has checked, of even length.</summary>
    public static int Decode(ReadOnlySpan<byte> hex, Span<byte> into)
    {
        Convert.FromHexString(hex, into, out _, out var written);
        return written;
    }
}
