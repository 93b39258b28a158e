using System.Text;

namespace Keylime.Attestation;

/// <summary>A set in square brackets, as Python reads it: no subtraction, no intersection, no names of classes.</summary>
internal static class PatternSet
{
    /// <summary>Reads a set whose opening bracket has been read.</summary>
    public static CharSet Read(string text, ref int at, PatternFlags flags)
    {
        var start = at - 1;
        var ranges = new List<(int, int)>();
        var others = at < text.Length && text[at] == '^';
        if (others)
            at++;

        for (var first = true; ; first = false)
        {
            if (at == text.Length)
                throw new PatternException("a [ without its ]", start);
            if (text[at] == ']' && !first)
                break;

            var from = at;
            var (low, escape) = ReadMember(text, ref at, flags);
            if (at + 1 < text.Length && text[at] == '-' && text[at + 1] != ']')
            {
                at++;
                var (high, other) = ReadMember(text, ref at, flags);
                if (escape is not null || other is not null || high < low)
                    throw new PatternException("a range whose ends are no characters in their order", from);
                ranges.Add((low, high));
            }
            else if (escape is null)
            {
                ranges.Add((low, low));
            }
            else
            {
                ranges.AddRange(escape.Ranges());
            }
        }

        at++;
        var set = CharSet.Of(ranges);
        if (flags.HasFlag(PatternFlags.IgnoreCase))
            set = CharSets.IgnoringCase(set, flags.HasFlag(PatternFlags.Ascii));
        return others ? set.Complement() : set;
    }

    private static (int Character, CharSet? Escape) ReadMember(string text, ref int at, PatternFlags flags)
    {
        var start = at;
        if (text[at] != '\\')
            return Rune.TryGetRuneAt(text, at, out var rune) ? (Skip(rune, ref at), null) : throw new PatternException("half of a surrogate pair, which no text has", start);
        if (++at == text.Length)
            throw new PatternException("a backslash at the end", start);
        if (CharSets.Escape(text[at], flags.HasFlag(PatternFlags.Ascii)) is { } escape)
        {
            at++;
            return (0, escape);
        }

        if (text[at] == 'b')
        {
            at++;
            return ('\b', null);
        }

        if (text[at] is '8' or '9')
            throw new PatternException($"\\{text[at]} is no escape", start);
        return Rune.TryGetRuneAt(PatternEscape.Read(text, ref at), 0, out var escaped) ? (escaped.Value, null) : throw new PatternException("half of a surrogate pair, which no text has", start);
    }

    private static int Skip(Rune rune, ref int at)
    {
        at += rune.Utf16SequenceLength;
        return rune.Value;
    }
}
