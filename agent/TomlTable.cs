using System.Text;

namespace Keylime.Agent;

/// <summary>
/// As much of TOML (toml.io, 1.0) as <c>agent.conf</c> has: tables, and keys with strings, numbers, booleans and arrays on one line. A package for all of
/// TOML would make the agent larger by a tenth, for files that have never used more.
/// </summary>
internal static class TomlTable
{
    /// <summary>The keys of one table with their values; strings without their quotes, all else as written.</summary>
    /// <exception cref="OptionsException">A line that is none of these.</exception>
    public static IEnumerable<(string Name, string Value)> Read(IEnumerable<string> lines, string table, string file)
    {
        var current = "";
        var number = 0;
        foreach (var line in lines)
        {
            number++;
            var text = line.AsSpan().Trim();
            if (text.IsEmpty || text[0] == '#')
                continue;

            if (text[0] == '[')
            {
                var end = text.IndexOf(']');
                if (end < 0 || !IsBlank(text[(end + 1)..]))
                    throw Wrong(file, number, "a table's name in brackets");
                current = text[1..end].Trim().ToString();
                continue;
            }

            var equals = text.IndexOf('=');
            var name = equals < 0 ? "" : text[..equals].Trim().ToString();
            if (name.Length == 0 || !name.All(static c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-'))
                throw Wrong(file, number, "name = value");

            var value = Value(text[(equals + 1)..].Trim(), file, number);
            if (current == table)
                yield return (name, value);
        }
    }

    private static string Value(ReadOnlySpan<char> text, string file, int number)
    {
        if (text.IsEmpty)
            throw Wrong(file, number, "a value");

        if (text[0] == '\'')
        {
            var end = text[1..].IndexOf('\'');
            return end >= 0 && IsBlank(text[(end + 2)..]) ? text.Slice(1, end).ToString() : throw Wrong(file, number, "a string that ends with '");
        }

        if (text[0] == '"')
            return BasicString(text[1..], file, number);

        if (text[0] == '[')
        {
            var end = text.LastIndexOf(']');
            return end > 0 && IsBlank(text[(end + 1)..]) ? text[..(end + 1)].ToString() : throw Wrong(file, number, "an array on one line");
        }

        var comment = text.IndexOf('#');
        var bare = (comment < 0 ? text : text[..comment]).TrimEnd().ToString();
        return bare.Length > 0 && bare.All(static c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-' or '+' or '.' or ':')
            ? bare
            : throw Wrong(file, number, "a string in quotes, a number, true or false");
    }

    private static string BasicString(ReadOnlySpan<char> text, string file, int number)
    {
        var value = new StringBuilder();
        for (var i = 0; i < text.Length; i++)
        {
            switch (text[i])
            {
                case '"' when IsBlank(text[(i + 1)..]):
                    return value.ToString();
                case '"':
                    throw Wrong(file, number, "nothing behind the string");
                case '\\' when i + 1 < text.Length && "\"\\tnr".Contains(text[i + 1]):
                    value.Append(text[++i] switch { 't' => '\t', 'n' => '\n', 'r' => '\r', var c => c });
                    break;
                case '\\':
                    throw Wrong(file, number, "one of the escapes \\\" \\\\ \\t \\n \\r");
                default:
                    value.Append(text[i]);
                    break;
            }
        }

        throw Wrong(file, number, "a string that ends with \"");
    }

    private static bool IsBlank(ReadOnlySpan<char> text) => text.TrimStart() is [] or ['#', ..];

    private static OptionsException Wrong(string file, int line, string expected) =>
        new($"{file}, line {line}: {expected} is expected.", "the file is TOML, with the options in the table [agent]");
}
