using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;

namespace Keylime.Attestation;

/// <summary>
/// Reads a regular expression in the dialect of Python's <c>re</c> (docs.python.org/3/library/re.html), which upstream's policies have.
/// What cannot be matched in linear time is refused, with its place; look-aheads are kept as such, for <see cref="PatternBranch"/> to take apart.
/// </summary>
/// <remarks>Refused as Python refuses it: what is no pattern there. What differs from Python is in docs/differences.md.</remarks>
internal sealed partial class PatternParser
{
    /// <summary>The longest pattern, in characters.</summary>
    public const int MaxLength = 16 * 1024;

    /// <summary>The most states that a pattern may come to, about: what <c>a{1000}{1000}</c> is refused for.</summary>
    public const int MaxSize = 20_000;

    private const int MaxDepth = 64;

    private static readonly CharSet AllButLineFeed = CharSet.One('\n').Complement();

    private readonly string _text;
    private readonly HashSet<string> _names = new(StringComparer.Ordinal);
    private int _at;
    private int _depth;
    private PatternFlags _flags;

    private PatternParser(string text) => _text = text;

    /// <exception cref="PatternException">It is no pattern, or none that can be matched in linear time.</exception>
    public static ImmutableArray<ImmutableArray<PatternPart>> Parse(string text)
    {
        if (text.Length > MaxLength)
            throw new PatternException($"{text.Length} characters, {MaxLength} at most", MaxLength);

        var parser = new PatternParser(text);
        parser.ReadGlobalFlags();
        var branches = parser.ReadBranches();
        return parser._at == text.Length ? branches : throw parser.Wrong("a ) without its (");
    }

    private ImmutableArray<ImmutableArray<PatternPart>> ReadBranches()
    {
        if (++_depth > MaxDepth)
            throw Wrong($"groups in groups, deeper than {MaxDepth}");

        var branches = ImmutableArray.CreateBuilder<ImmutableArray<PatternPart>>();
        do
            branches.Add(ReadBranch());
        while (Skip('|'));
        _depth--;
        if (branches.Sum(static b => b.Sum(static p => (long)p.Size)) > MaxSize)
            throw TooLarge(_at);
        return branches.ToImmutable();
    }

    private ImmutableArray<PatternPart> ReadBranch()
    {
        var parts = ImmutableArray.CreateBuilder<PatternPart>();
        while (_at < _text.Length && _text[_at] is not ('|' or ')'))
        {
            var at = _at;
            var c = _text[_at++];
            if (_flags.HasFlag(PatternFlags.Verbose) && SkipVerbose(c))
                continue;
            if (c is '*' or '+' or '?' || (c == '{' && AtRepetition()))
                Repeat(parts, c, at);
            else if (ReadPart(c, at) is { } part)
                parts.Add(part);
        }

        return parts.ToImmutable();
    }

    private bool SkipVerbose(char c)
    {
        if (c == '#')
        {
            var end = _text.IndexOf('\n', _at);
            _at = end < 0 ? _text.Length : end + 1;
        }

        return c is '#' or ' ' or '\t' or '\n' or '\r' or '\v' or '\f';
    }

    private PatternPart? ReadPart(char c, int at) => c switch
    {
        '.' => Set(_flags.HasFlag(PatternFlags.DotAll) ? CharSet.Everything : AllButLineFeed, at),
        '^' => Place(_flags.HasFlag(PatternFlags.Multiline) ? PatternPlace.LineStart : PatternPlace.Start, at),
        '$' => Place(_flags.HasFlag(PatternFlags.Multiline) ? PatternPlace.LineEnd : PatternPlace.EndOfText, at),
        '[' => Set(PatternSet.Read(_text, ref _at, _flags), at),
        '(' => ReadGroup(at),
        '\\' => ReadEscape(at),
        _ => Character(c, at),
    };

    private PatternPart Place(PatternPlace place, int at) => new(KeyFrom(at), 0, 1, at) { Node = new PatternNode.Place(place) };

    private PatternPart Set(CharSet set, int at) => new(KeyFrom(at), 1, 1, at) { Node = new PatternNode.One(set) };

    private PatternPart Character(char c, int at)
    {
        var text = c.ToString();
        if (char.IsHighSurrogate(c) && _at < _text.Length && char.IsLowSurrogate(_text[_at]))
            text += _text[_at++];
        return Literal(text, at);
    }

    private PatternPart Literal(string text, int at)
    {
        if (!Rune.TryGetRuneAt(text, 0, out var rune))
            throw new PatternException("half of a surrogate pair, which no text has", at);
        var set = CharSet.One(rune.Value);
        return _flags.HasFlag(PatternFlags.IgnoreCase)
            ? Set(CharSets.IgnoringCase(set, _flags.HasFlag(PatternFlags.Ascii)), at)
            : new PatternPart(KeyFrom(at), 1, 1, at) { Node = new PatternNode.One(set), Literal = text };
    }

    // What is written, and the flags that it means something else with.
    private string KeyFrom(int at) => $"{(int)_flags}{_text.AsSpan(at, _at - at)}";

    private PatternPart ReadEscape(int at)
    {
        if (_at == _text.Length)
            throw new PatternException("a backslash at the end", at);

        var c = _text[_at++];
        var ascii = _flags.HasFlag(PatternFlags.Ascii);
        if (CharSets.Escape(c, ascii) is { } set)
            return Set(set, at);

        switch (c)
        {
            case 'A':
                return Place(PatternPlace.Start, at);
            case 'Z' or 'z':
                return Place(PatternPlace.End, at);
            case 'b':
                return Place(ascii ? PatternPlace.AsciiWordEdge : PatternPlace.WordEdge, at);
            case 'B':
                return Place(ascii ? PatternPlace.NoAsciiWordEdge : PatternPlace.NoWordEdge, at);
            case >= '1' and <= '9' when !PatternEscape.IsOctal(_text, _at - 1):
                throw new PatternException("a back reference cannot be matched in linear time", at);
            default:
                _at--;
                return Literal(PatternEscape.Read(_text, ref _at), at);
        }
    }

    private void Repeat(ImmutableArray<PatternPart>.Builder parts, char c, int at)
    {
        var (min, max) = c switch { '*' => (0, int.MaxValue), '+' => (1, int.MaxValue), '?' => (0, 1), _ => ReadCounts(at) };
        if (parts.Count == 0 || parts[^1].Node is PatternNode.Place)
            throw new PatternException("nothing is there to repeat", at);
        if (parts[^1].Node is PatternNode.Repetition)
            throw new PatternException("a repetition of a repetition; a group around the first is needed", at);
        if (parts[^1].HasLook)
            throw new PatternException("a look-ahead that is repeated cannot be matched in linear time", parts[^1].At);
        if (Skip('+'))
            throw new PatternException("a possessive repetition cannot be matched in linear time", at);
        _ = Skip('?'); // lazy: which match is found first does not matter, only whether there is one

        var part = parts[^1];
        var size = Math.Max(part.Size, 1) * (long)(max == int.MaxValue ? min + 1L : max);
        if (size > MaxSize)
            throw TooLarge(at);

        parts[^1] = new PatternPart(KeyFrom(part.At), min == max && part.Width >= 0 ? part.Width * min : -1, (int)size, part.At)
        {
            Node = new PatternNode.Repetition(part.Node!, min, max),
        };
    }

    // As Python has it, {,} and {,n} are repetitions, and what is none is a brace.
    private bool AtRepetition()
    {
        var end = _text.IndexOf('}', _at);
        if (end <= _at)
            return false;
        var inside = _text.AsSpan(_at, end - _at);
        var comma = inside.IndexOf(',');
        return !(comma < 0 ? inside : inside[..comma]).ContainsAnyExceptInRange('0', '9') && (comma < 0 || !inside[(comma + 1)..].ContainsAnyExceptInRange('0', '9'));
    }

    private (int Min, int Max) ReadCounts(int at)
    {
        var end = _text.IndexOf('}', _at);
        var inside = _text[_at..end];
        _at = end + 1;
        var comma = inside.IndexOf(',', StringComparison.Ordinal);
        var min = Count(comma < 0 ? inside : inside[..comma], 0, at);
        var max = comma < 0 ? min : Count(inside[(comma + 1)..], int.MaxValue, at);
        return min <= max ? (min, max) : throw new PatternException($"at least {min} and at most {max} times", at);
    }

    private static int Count(string digits, int missing, int at) =>
        digits.Length == 0 ? missing : int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var count) && count <= MaxSize ? count : throw TooLarge(at);

    private char Next(string expected) => _at < _text.Length ? _text[_at++] : throw Wrong($"the pattern ends where {expected} is expected");

    private bool Skip(char c)
    {
        if (_at == _text.Length || _text[_at] != c)
            return false;
        _at++;
        return true;
    }

    private void SkipTo(char c, string otherwise)
    {
        var end = _text.IndexOf(c, _at);
        if (end < 0)
            throw Wrong(otherwise);
        _at = end + 1;
    }

    private static PatternException TooLarge(int at) => new($"it comes to more than {MaxSize} states: a repetition of that many is refused", at);

    [SuppressMessage("Performance", "CA1822:Mark members as static", Justification = "It reads the parser's place.")]
    private PatternException Wrong(string what) => new(what, _at);
}
