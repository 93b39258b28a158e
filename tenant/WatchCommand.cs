using System.CommandLine;
using Keylime.Protocol.Api;
using Spectre.Console;

namespace Keylime.Tenant;

/// <summary><c>keylime watch</c>: the fleet, live.</summary>
internal static class WatchCommand
{
    public static Command Create(Surroundings surroundings, Formats formats)
    {
        var interval = new Option<int>("--interval") { Description = "Seconds from one look to the next.", DefaultValueFactory = _ => 2 };
        var once = new Option<bool>("--once") { Description = "Look once." };
        var command = new Command("watch", "Watch the fleet, live.") { interval, once };
        command.SetAction(async (parsed, cancel) =>
        {
            if (parsed.GetValue(interval) is < 1 or > 3600)
                throw new CliException(Exits.Usage, $"--interval {parsed.GetValue(interval)}: 1 to 3600 is expected", "for example --interval 5");
            using var api = new ServiceApi(Login.Load(surroundings));
            var pause = TimeSpan.FromSeconds(parsed.GetValue(interval));
            if (formats.IsJson(parsed) || formats.IsCsv(parsed))
                await WriteListsAsync(surroundings, formats, parsed, api, parsed.GetValue(once), pause, cancel);
            else if (surroundings.Interactive && !parsed.GetValue(once))
                await ShowLiveAsync(surroundings, api, pause, cancel);
            else
                await WriteTablesAsync(surroundings, api, parsed.GetValue(once), pause, cancel);
            return Exits.Ok;
        });
        return command;
    }

    private static async Task WriteListsAsync(
        Surroundings surroundings, Formats formats, ParseResult parsed, ServiceApi api, bool once, TimeSpan pause, CancellationToken cancel)
    {
        do
        {
            Output.WriteNodes(surroundings, formats, parsed, await api.NodesAsync(null, cancel));
        }
        while (!once && await WaitAsync(surroundings, pause, cancel));
    }

    private static async Task WriteTablesAsync(Surroundings surroundings, ServiceApi api, bool once, TimeSpan pause, CancellationToken cancel)
    {
        var console = Output.Console(surroundings);
        do
        {
            console.Write(Output.Nodes((await api.NodesAsync(null, cancel)).Nodes, surroundings.Clock.GetUtcNow()));
        }
        while (!once && await WaitAsync(surroundings, pause, cancel));
    }

    private static async Task ShowLiveAsync(Surroundings surroundings, ServiceApi api, TimeSpan pause, CancellationToken cancel)
    {
        var nodes = (await api.NodesAsync(null, cancel)).Nodes; // what is wrong from the start is an error, not a table
        await Output.Console(surroundings).Live(new Table()).StartAsync(async live =>
        {
            string? trouble = null;
            do
            {
                var now = surroundings.Clock.GetUtcNow();
                var table = Output.Nodes(nodes, now);
                table.Caption = new TableTitle(Markup.Escape(trouble ?? $"{Summary(nodes)} · {Output.Time(now)} · Ctrl+C ends"));
                live.UpdateTarget(table);
                await WaitAsync(surroundings, pause, cancel);
                try
                {
                    nodes = (await api.NodesAsync(null, cancel)).Nodes;
                    trouble = null;
                }
                catch (CliException e)
                {
                    trouble = $"as of before: {e.Message}"; // a restart of the service ends no watch
                }
            }
            while (true);
        });
    }

    private static string Summary(IReadOnlyList<NodeSummary> nodes) =>
        string.Join(", ", nodes.GroupBy(n => n.State).OrderBy(g => g.Key).Select(g => $"{g.Count()} {g.Key.ToString().ToLowerInvariant()}").DefaultIfEmpty("no nodes"));

    private static async Task<bool> WaitAsync(Surroundings surroundings, TimeSpan pause, CancellationToken cancel)
    {
        await Task.Delay(pause, surroundings.Clock, cancel);
        return true;
    }
}
