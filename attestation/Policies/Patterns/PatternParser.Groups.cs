using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>Groups: what kinds there are, their names and their flags.</summary>
internal sealed partial class PatternParser
{
    // Behind the opening parenthesis.
    private PatternPart? ReadGroup(int at)
    {
        var (flags, look) = (_flags, PatternLook.None);
        if (Skip('?'))
        {
            switch (Next("what kind of group it is"))
            {
                case 'P':
                    ReadNamed(at);
                    break;
                case ':':
                    break;
                case '#':
                    SkipTo(')', "a comment without its end");
                    return null;
                case '=':
                    look = PatternLook.Positive;
                    break;
                case '!':
                    look = PatternLook.Negative;
                    break;
                case '<' when _at < _text.Length && _text[_at] is '=' or '!':
                    throw new PatternException("a look-behind cannot be matched in linear time", at);
                case '>':
                    throw new PatternException("an atomic group cannot be matched in linear time", at);
                case '(':
                    throw new PatternException("a group that depends on another cannot be matched in linear time", at);
                default:
                    _at--;
                    _flags = ReadFlags(at);
                    break;
            }
        }

        var branches = ReadBranches();
        if (!Skip(')'))
            throw new PatternException("a ( without its )", at);
        _flags = flags;
        return Group(branches, look, at);
    }

    private PatternPart Group(ImmutableArray<ImmutableArray<PatternPart>> branches, PatternLook look, int at)
    {
        var widths = branches.Select(WidthOf).Distinct().ToArray();
        var size = branches.Sum(static b => b.Sum(static p => p.Size)) + 1;
        if (look != PatternLook.None || branches.Any(static b => b.Any(static p => p.HasLook)))
            return new PatternPart(KeyFrom(at), look == PatternLook.None && widths is [var common] ? common : look == PatternLook.None ? -1 : 0, size, at) { Look = look, Branches = branches };

        return new PatternPart(KeyFrom(at), widths is [var width] ? width : -1, size, at)
        {
            Node = new PatternNode.Choice([.. branches.Select(static b => b.Select(static p => p.Node!).ToImmutableArray())]),
            Branches = branches,
        };
    }

    /// <summary>How many characters a branch always matches; -1 where that varies.</summary>
    internal static int WidthOf(ImmutableArray<PatternPart> branch) => branch.Any(static p => p.Width < 0) ? -1 : branch.Sum(static p => p.Width);

    private void ReadNamed(int at)
    {
        switch (Next("what kind of group it is"))
        {
            case '=':
                throw new PatternException("a back reference cannot be matched in linear time", at);
            case '<':
                break;
            default:
                throw new PatternException("(?P is followed by <NAME> only", at);
        }

        var from = _at;
        SkipTo('>', "a group's name without its >");
        var name = _text[from..(_at - 1)];
        if (name.Length == 0 || char.IsDigit(name[0]) || !name.All(static c => char.IsLetterOrDigit(c) || c == '_'))
            throw new PatternException($"'{name}' is no name of a group", at);
        if (!_names.Add(name))
            throw new PatternException($"the name '{name}' is there twice", at);
    }

    private void ReadGlobalFlags()
    {
        while (_text.AsSpan(_at).StartsWith("(?") && _at + 2 < _text.Length && char.IsAsciiLetter(_text[_at + 2]) && _text[_at + 2] != 'P')
        {
            var at = _at;
            _at += 2;
            var flags = ReadFlags(at, onlyGlobal: true);
            if (_at == at)
                return; // a group with flags of its own
            _flags = flags;
        }
    }

    // aimsux, perhaps - and imsx; a colon follows, or at the pattern's start the closing parenthesis.
    private PatternFlags ReadFlags(int at, bool onlyGlobal = false)
    {
        var (flags, remove, any) = (_flags, false, false);
        while (true)
        {
            var c = Next("flags");
            switch (c)
            {
                case 'u' when !remove:
                    break;
                case 'a' when !remove:
                    flags |= PatternFlags.Ascii;
                    break;
                case 'i' or 'm' or 's' or 'x':
                    var flag = c switch { 'i' => PatternFlags.IgnoreCase, 'm' => PatternFlags.Multiline, 's' => PatternFlags.DotAll, _ => PatternFlags.Verbose };
                    flags = remove ? flags & ~flag : flags | flag;
                    break;
                case '-' when !remove:
                    remove = true;
                    continue;
                case ':' when any && onlyGlobal:
                    _at = at;
                    return _flags;
                case ':' when any:
                    return flags;
                case ')' when any && !remove && onlyGlobal:
                    return flags;
                case ')' when any && !remove:
                    throw new PatternException("flags for the whole pattern belong to its start", at);
                default:
                    throw new PatternException($"(? is followed by '{c}', which is no kind of group", at);
            }

            any = true;
        }
    }
}
