using System.Diagnostics.CodeAnalysis;
using System.Text;
using System.Text.Unicode;

namespace Keylime.Attestation;

/// <summary>Text in event data: strictly decoded, so that no two pieces of data read as one text.</summary>
internal static class BootText
{
    /// <summary>UTF-16 without its NUL, where it has one. Half a NUL is taken for one: old versions of systemd-boot cut it off.</summary>
    /// <exception cref="BootFormatException">Half a unit, half a pair, or a NUL before the end.</exception>
    public static string ReadUtf16(ReadOnlySpan<byte> bytes) =>
        TryReadUtf16(bytes, out var text) ? text : throw new BootFormatException("text that is no UTF-16", 0);

    /// <summary>ASCII or UTF-8 without the NUL at its end, where it has one.</summary>
    /// <exception cref="BootFormatException">Bytes that are no UTF-8, or a NUL before the end.</exception>
    public static string ReadUtf8(ReadOnlySpan<byte> bytes) =>
        TryReadUtf8(bytes, out var text) ? text : throw new BootFormatException("text that is neither ASCII nor UTF-8", 0);

    public static bool TryReadUtf16(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out string? text)
    {
        bytes = bytes.Length % 2 != 0 && bytes is [.., 0] ? bytes[..^1] : bytes is [.., 0, 0] ? bytes[..^2] : bytes;
        text = IsUtf16(bytes) ? Encoding.Unicode.GetString(bytes) : null;
        return text is not null;
    }

    public static bool TryReadUtf8(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out string? text)
    {
        bytes = bytes is [.., 0] ? bytes[..^1] : bytes;
        text = Utf8.IsValid(bytes) && !bytes.Contains((byte)0) ? Encoding.UTF8.GetString(bytes) : null;
        return text is not null;
    }

    /// <summary>Text of either form, if all of it can be printed: what data are where their type does not say.</summary>
    public static bool TryReadPrintable(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out string? text)
    {
        text = null;
        return (LooksLikeUtf16(bytes) ? TryReadUtf16(bytes, out text) : TryReadUtf8(bytes, out text))
            && text.Length > 0 && !text.AsSpan().ContainsAnyInRange('\0', '\x08') && !text.AsSpan().ContainsAnyInRange('\x0e', '\x1f');
    }

    /// <summary>True where the first character is of UTF-16 and below U+0100, which no text in ASCII starts like.</summary>
    public static bool LooksLikeUtf16(ReadOnlySpan<byte> bytes) => bytes is [not 0, 0, _, ..];

    // Validity first, without exceptions: a log may have a hundred thousand texts that are none.
    private static bool IsUtf16(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length % sizeof(char) != 0)
            return false;

        var high = false;
        for (var at = 0; at < bytes.Length; at += sizeof(char))
        {
            var unit = (char)(bytes[at] | bytes[at + 1] << 8);
            if (unit == '\0' || high != char.IsLowSurrogate(unit))
                return false;
            high = char.IsHighSurrogate(unit);
        }

        return !high;
    }
}
