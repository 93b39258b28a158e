using System.CommandLine;

namespace Keylime.Tenant;

/// <summary>One command for many: each line of a CSV file is done by itself, and a line that fails stops no other. To run it again does no harm.</summary>
internal static class Bulk
{
    public static Option<string?> From(params string[] columns) =>
        new("--from") { Description = $"A CSV file with the columns {string.Join(", ", columns)}, of which the first is needed; - reads the standard input." };

    /// <summary>Does the one that the command line names, or each one of the file.</summary>
    /// <param name="columns">The columns that the file may have; the first is the id.</param>
    public static async Task<int> RunAsync(
        Surroundings surroundings, string? id, string? file, IReadOnlyList<string> columns, Func<Dictionary<string, string>, Task> one, CancellationToken cancel)
    {
        if (id is null == file is null)
            throw new CliException(Exits.Usage, $"either an {columns[0].ToUpperInvariant()} or --from FILE is expected", "--from reads many from a CSV file");
        if (id is not null)
        {
            await one(new Dictionary<string, string> { [columns[0]] = id });
            return Exits.Ok;
        }

        var failed = 0;
        var rows = Csv.Read(await surroundings.ReadTextAsync(file!, cancel), columns);
        foreach (var (line, values) in rows)
        {
            try
            {
                if (!values.ContainsKey(columns[0]))
                    throw new CliException(Exits.Usage, $"no {columns[0]}", "");
                await one(values);
            }
            catch (CliException e) when (e.Exit is not Exits.Refused)
            {
                failed++;
                surroundings.Error.WriteLine($"error: line {line}: {values.GetValueOrDefault(columns[0])}: {e.Message}");
            }
        }

        surroundings.Error.WriteLine($"{rows.Count - failed} of {rows.Count} done");
        return failed == 0 ? Exits.Ok : throw new CliException(Exits.Failed, $"{failed} of {rows.Count} lines failed", "mend those lines and run it again: what is done stays done");
    }
}
