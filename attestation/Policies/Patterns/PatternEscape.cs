using System.Globalization;

namespace Keylime.Attestation;

/// <summary>Escapes of one character, as Python has them in patterns.</summary>
internal static class PatternEscape
{
    private const int MaxOctal = 0xFF;

    /// <summary>Three octal digits are a character; fewer are a back reference, unless the first is 0.</summary>
    public static bool IsOctal(string text, int at) =>
        at + 2 < text.Length && text[at] is >= '0' and <= '7' && text[at + 1] is >= '0' and <= '7' && text[at + 2] is >= '0' and <= '7';

    /// <summary>Reads what is behind a backslash.</summary>
    public static string Read(string text, ref int at)
    {
        var start = at - 1;
        var c = text[at++];
        switch (c)
        {
            case 'x':
                return Hex(text, ref at, 2, start);
            case 'u':
                return Hex(text, ref at, 4, start);
            case 'U':
                return Hex(text, ref at, 8, start);
            case 'N':
                throw new PatternException("characters by name are not supported; \\u is", start);
            case >= '0' and <= '7':
                var value = c - '0';
                for (var digits = 1; digits < 3 && at < text.Length && text[at] is >= '0' and <= '7'; digits++)
                    value = value * 8 + (text[at++] - '0');
                return value <= MaxOctal ? ((char)value).ToString() : throw new PatternException("an octal escape over 377", start);
            case 'a':
                return "\a";
            case 'f':
                return "\f";
            case 'n':
                return "\n";
            case 'r':
                return "\r";
            case 't':
                return "\t";
            case 'v':
                return "\v";
            case var other when char.IsAsciiLetterOrDigit(other):
                throw new PatternException($"\\{other} is no escape", start);
            case var high when char.IsHighSurrogate(high) && at < text.Length && char.IsLowSurrogate(text[at]):
                return new string([high, text[at++]]);
            default:
                return c.ToString();
        }
    }

    private static string Hex(string text, ref int at, int digits, int start)
    {
        if (at + digits > text.Length || !uint.TryParse(text.AsSpan(at, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value))
            throw new PatternException($"\\{text[at - 1]} is followed by {digits} hexadecimal digits", start);
        at += digits;
        return value switch
        {
            <= char.MaxValue => ((char)value).ToString(),
            <= 0x10FFFF => char.ConvertFromUtf32((int)value),
            _ => throw new PatternException("a character over 10FFFF", start),
        };
    }
}
