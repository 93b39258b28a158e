using System.Collections.Frozen;
using System.Globalization;

namespace Keylime.Attestation;

/// <summary>Sets of characters as Python's <c>re</c> has them: <c>\d</c>, <c>\s</c>, <c>\w</c>, and what differs by case alone.</summary>
internal static class CharSets
{
    private static readonly Lazy<CharSet> Digit = new(static () => OfCategories(UnicodeCategory.DecimalDigitNumber));

    // str.isalnum and the underscore: letters and numbers of every kind; no marks, no other connectors
    private static readonly Lazy<CharSet> Word = new(static () => CharSet.Of([
        ('_', '_'),
        .. OfCategories(
            UnicodeCategory.UppercaseLetter, UnicodeCategory.LowercaseLetter, UnicodeCategory.TitlecaseLetter, UnicodeCategory.ModifierLetter, UnicodeCategory.OtherLetter,
            UnicodeCategory.DecimalDigitNumber, UnicodeCategory.LetterNumber, UnicodeCategory.OtherNumber).Ranges(),
    ]));

    // str.isspace
    private static readonly CharSet Space = CharSet.Of(
        ('\t', '\r'), (0x1C, ' '), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000));

    private static readonly CharSet AsciiDigit = CharSet.Of(('0', '9'));
    private static readonly CharSet AsciiWord = CharSet.Of(('0', '9'), ('A', 'Z'), ('a', 'z'), ('_', '_'));
    private static readonly CharSet AsciiSpace = CharSet.Of(('\t', '\r'), (' ', ' '));

    // Of each lower-case letter those that become it.
    private static readonly Lazy<FrozenDictionary<int, int[]>> Uppers = new(static () => Enumerable.Range(0, CharSet.Last + 1)
        .Where(static c => Lower(c) != c).GroupBy(Lower).ToFrozenDictionary(static g => g.Key, static g => g.ToArray()));

    // Lower-case letters with one upper-case letter, or none in common but their meaning: what Python's re holds for equal (Lib/re/_casefix.py).
    private static readonly FrozenDictionary<int, int[]> Kin = new int[][]
    {
        [0x69, 0x131], [0x73, 0x17F], [0xB5, 0x3BC], [0x345, 0x3B9, 0x1FBE], [0x390, 0x1FD3], [0x3B0, 0x1FE3], [0x3B2, 0x3D0], [0x3B5, 0x3F5], [0x3B8, 0x3D1], [0x3BA, 0x3F0],
        [0x3C0, 0x3D6], [0x3C1, 0x3F1], [0x3C2, 0x3C3], [0x3C6, 0x3D5], [0x432, 0x1C80], [0x434, 0x1C81], [0x43E, 0x1C82], [0x441, 0x1C83], [0x442, 0x1C84, 0x1C85], [0x44A, 0x1C86],
        [0x463, 0x1C87], [0x1C88, 0xA64B], [0x1E61, 0x1E9B], [0xFB05, 0xFB06],
    }.SelectMany(static kin => kin.Select(one => (one, kin))).ToFrozenDictionary(static p => p.one, static p => p.kin);

    /// <summary>What an escape's letter stands for; <see langword="null"/> if it is none.</summary>
    public static CharSet? Escape(char letter, bool ascii) => letter switch
    {
        'd' => ascii ? AsciiDigit : Digit.Value,
        'D' => (ascii ? AsciiDigit : Digit.Value).Complement(),
        's' => ascii ? AsciiSpace : Space,
        'S' => (ascii ? AsciiSpace : Space).Complement(),
        'w' => ascii ? AsciiWord : Word.Value,
        'W' => (ascii ? AsciiWord : Word.Value).Complement(),
        _ => null,
    };

    public static bool IsWord(int c, bool ascii) => (ascii || c < 128 ? AsciiWord : Word.Value).Contains(c);

    /// <summary>The set with all that differs from its members by case alone.</summary>
    public static CharSet IgnoringCase(CharSet set, bool ascii)
    {
        const int few = 256;
        var with = new List<(int, int)>(set.Ranges());
        if (ascii)
        {
            for (var c = 'a'; c <= 'z'; c++)
            {
                if (set.Contains(c) || set.Contains(c - 32))
                    with.AddRange([(c, c), (c - 32, c - 32)]);
            }
        }
        else if (set.Count <= few)
        {
            foreach (var (first, last) in set.Ranges())
            {
                for (var c = first; c <= last; c++)
                    AddKin(with, Lower(c));
            }
        }
        else
        {
            foreach (var (lower, uppers) in Uppers.Value)
            {
                if (set.Contains(lower) || uppers.Any(set.Contains))
                    AddKin(with, lower);
            }
        }

        return CharSet.Of(with);
    }

    private static void AddKin(List<(int, int)> with, int lower)
    {
        foreach (var kin in Kin.TryGetValue(lower, out var all) ? all : [lower])
        {
            with.Add((kin, kin));
            if (Uppers.Value.TryGetValue(kin, out var uppers))
                with.AddRange(uppers.Select(static u => (u, u)));
        }
    }

    private static int Lower(int c) =>
        c == 0x130 ? 'i' // the capital I with a dot, which only some languages' rules make an i
        : System.Text.Rune.TryCreate(c, out var rune) ? System.Text.Rune.ToLowerInvariant(rune).Value : c;

    private static CharSet OfCategories(params ReadOnlySpan<UnicodeCategory> categories)
    {
        var ranges = new List<(int, int)>();
        var from = -1;
        for (var c = 0; c <= CharSet.Last + 1; c++)
        {
            var inside = c <= CharSet.Last && categories.Contains(CharUnicodeInfo.GetUnicodeCategory(c));
            if (inside && from < 0)
                from = c;
            if (inside || from < 0)
                continue;
            ranges.Add((from, c - 1));
            from = -1;
        }

        return CharSet.Of(ranges);
    }
}
