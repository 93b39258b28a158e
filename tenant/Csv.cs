using System.Text;

namespace Keylime.Tenant;

/// <summary>Comma-separated values (RFC 4180).</summary>
internal static class Csv
{
    /// <summary>One line. What a spreadsheet would take for a formula gets an apostrophe in front.</summary>
    public static string Line(IEnumerable<string?> values) => string.Join(',', values.Select(static value =>
    {
        var text = PlainText.From(value);
        if (text is ['=' or '+' or '-' or '@', _, ..])
            text = "'" + text;
        return text.AsSpan().IndexOfAny(",\"\n\r") >= 0 ? $"\"{text.Replace("\"", "\"\"", StringComparison.Ordinal)}\"" : text;
    }));

    /// <summary>The rows of a file, as name and value by its first line; empty lines and lines that start with <c>#</c> are left out.</summary>
    /// <param name="known">The columns that there may be; the first one must be there.</param>
    /// <exception cref="CliException">The first line is none, or a line has more values.</exception>
    public static IReadOnlyList<(int Line, Dictionary<string, string> Values)> Read(string text, IReadOnlyList<string> known)
    {
        List<string>? header = null;
        var rows = new List<(int, Dictionary<string, string>)>();
        var number = 0;
        foreach (var line in text.Split('\n'))
        {
            number++;
            var trimmed = line.Trim('\r', ' ', '\uFEFF');
            if (trimmed.Length == 0 || trimmed[0] == '#')
                continue;
            var values = Split(trimmed, number);
            if (header is null)
            {
                header = values;
                if (header.FirstOrDefault(h => !known.Contains(h)) is { } unknown || !header.Contains(known[0]))
                    throw new CliException(Exits.Usage, $"line {number}: its first line must name columns of {string.Join(", ", known)}, with {known[0]}", $"for example: {string.Join(',', known)}");
                continue;
            }

            if (values.Count > header.Count)
                throw new CliException(Exits.Usage, $"line {number}: {values.Count} values, where {header.Count} columns are named", "put values with commas into quotation marks");
            rows.Add((number, header.Zip(values).Where(static v => v.Second.Length > 0).ToDictionary(static v => v.First, static v => v.Second)));
        }

        return rows;
    }

    private static List<string> Split(string line, int number)
    {
        var values = new List<string>();
        var value = new StringBuilder();
        var quoted = false;
        for (var i = 0; i < line.Length; i++)
        {
            if (quoted && line[i] == '"' && i + 1 < line.Length && line[i + 1] == '"')
                value.Append(line[i++]);
            else if (line[i] == '"')
                quoted = !quoted;
            else if (line[i] == ',' && !quoted)
                Take();
            else
                value.Append(line[i]);
        }

        if (quoted)
            throw new CliException(Exits.Usage, $"line {number}: a quotation mark is not closed", "two of them stand for one");
        Take();
        return values;

        void Take()
        {
            values.Add(value.ToString().Trim());
            value.Clear();
        }
    }
}
