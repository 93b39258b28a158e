using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Keylime.Protocol;
using Keylime.Protocol.Api;
using Spectre.Console;

namespace Keylime.Tenant;

/// <summary>What commands print.</summary>
internal static class Output
{
    private const int PipeWidth = 180;

    public static void WriteJson<T>(Surroundings surroundings, T value, JsonTypeInfo<T> type) =>
        surroundings.Out.WriteLine(JsonSerializer.Serialize(value, type));

    /// <summary>A list: as the message itself in JSON, as lines of CSV, or as a table.</summary>
    public static void WriteList<T>(
        Surroundings surroundings, Formats formats, ParseResult parsed, T message, JsonTypeInfo<T> type, IReadOnlyList<string> columns, IEnumerable<string?[]> rows)
    {
        if (formats.IsJson(parsed))
        {
            WriteJson(surroundings, message, type);
        }
        else if (formats.IsCsv(parsed))
        {
            surroundings.Out.WriteLine(string.Join(',', columns));
            foreach (var row in rows)
                surroundings.Out.WriteLine(Csv.Line(row));
        }
        else
        {
            var table = new Table { Border = TableBorder.Simple };
            foreach (var column in columns)
                table.AddColumn(column);
            foreach (var row in rows)
                table.AddRow([.. row.Select(Cell)]);
            Console(surroundings).Write(table);
        }
    }

    /// <summary>A console on the output: with colours where a person looks, plain and wide for a pipe.</summary>
    public static IAnsiConsole Console(Surroundings surroundings)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(surroundings.Out),
            Ansi = surroundings.Interactive ? AnsiSupport.Detect : AnsiSupport.No,
            ColorSystem = surroundings.Interactive && surroundings.Variable("NO_COLOR") is null or "" ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
            Interactive = surroundings.Interactive ? InteractionSupport.Detect : InteractionSupport.No,
        });
        if (!surroundings.Interactive)
            console.Profile.Width = PipeWidth;
        return console;
    }

    /// <summary>Nodes as JSON or as lines of CSV.</summary>
    public static void WriteNodes(Surroundings surroundings, Formats formats, ParseResult parsed, NodeList nodes) => WriteList(
        surroundings, formats, parsed, nodes, ApiJson.Default.NodeList,
        ["node", "state", "identity", "boot", "runtime", "policy", "boot-policy", "attested", "last", "next", "why"],
        nodes.Nodes.Select(static n => (string?[])
        [
            n.Id.ToString(), n.State.ToString().ToLowerInvariant(), n.Coverage.Identity, n.Coverage.Boot, n.Coverage.Runtime, n.RuntimePolicy, n.BootPolicy,
            n.Attestations.ToString(CultureInfo.InvariantCulture), Time(n.LastVerdictAt), Time(n.NextExpectedAt), n.Reason,
        ]));

    public static Table Nodes(IReadOnlyList<NodeSummary> nodes, DateTimeOffset now)
    {
        var table = new Table { Border = TableBorder.Simple };
        foreach (var title in (string[])["node", "state", "identity", "boot", "runtime", "attested", "last", "next", "why"])
            table.AddColumn(new TableColumn(title) { NoWrap = title != "why" });
        foreach (var node in nodes)
        {
            table.AddRow(
                Cell(node.Id.ToString()), State(node.State), Cell(node.Coverage.Identity), Cell(node.Coverage.Boot), Cell(node.Coverage.Runtime),
                Cell(node.Attestations.ToString(CultureInfo.InvariantCulture)),
                Cell(node.LastVerdictAt is { } last ? $"{Span(now - last)} ago" : "-"),
                Cell(node.NextExpectedAt is { } next ? next >= now ? $"in {Span(next - now)}" : $"{Span(now - next)} overdue" : "-"),
                Cell(node.Reason));
        }

        return table;
    }

    /// <summary>Names and values, one a line.</summary>
    public static void WriteFields(Surroundings surroundings, params IEnumerable<(string Name, string? Value)> fields)
    {
        foreach (var (name, value) in fields)
        {
            if (!string.IsNullOrEmpty(value))
                surroundings.Out.WriteLine($"{name + ':',-18} {PlainText.From(value)}");
        }
    }

    public static Markup Cell(string? text) => new(Markup.Escape(PlainText.From(text)));

    public static string Time(DateTimeOffset? time) => time?.ToUniversalTime().ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture) ?? "";

    private static Markup State(NodeState state)
    {
        var colour = state switch
        {
            NodeState.Trusted => "green",
            NodeState.Failed => "red",
            NodeState.Late => "yellow",
            NodeState.Silent => "maroon",
            _ => "grey",
        };
        return new Markup($"[{colour}]{state.ToString().ToLowerInvariant()}[/]");
    }

    private static string Span(TimeSpan span) => span switch
    {
        { TotalSeconds: < 0 } => "0 s",
        { TotalSeconds: < 120 } => string.Create(CultureInfo.InvariantCulture, $"{span.TotalSeconds:0} s"),
        { TotalMinutes: < 120 } => string.Create(CultureInfo.InvariantCulture, $"{span.TotalMinutes:0} min"),
        { TotalHours: < 48 } => string.Create(CultureInfo.InvariantCulture, $"{span.TotalHours:0} h"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{span.TotalDays:0} d"),
    };
}
