using System.CommandLine;
using System.Globalization;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Tenant;

/// <summary><c>keylime events</c>: what happened, to the whole fleet.</summary>
internal static class EventCommands
{
    private const int PageSize = 1000;

    public static Command Create(Surroundings surroundings, Formats formats)
    {
        var subject = new Option<string?>("--subject") { Description = "A node's id, policy:NAME, or service: alone." };
        var (types, since, until, limit) = Filters();
        var command = new Command("events", "What happened, newest first.") { subject, types, since, until, limit };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var query = QueryOf(parsed, types, since, until) + (parsed.GetValue(subject) is { } named ? $"&subject={Uri.EscapeDataString(named)}" : "");
            Write(surroundings, formats, parsed, await ReadAsync(api, "/v1/events", query, parsed.GetValue(limit), cancel));
            return Exits.Ok;
        });
        return command;
    }

    public static (Option<string[]> Types, Option<string?> Since, Option<string?> Until, Option<int> Limit) Filters() =>
    (
        new("--type") { Description = "Only events of this type; may be repeated.", DefaultValueFactory = static _ => [] },
        new("--since") { Description = "From this time on, 2026-11-24T12:00:00Z." },
        new("--until") { Description = "Before this time." },
        new("--limit") { Description = "So many at most.", DefaultValueFactory = static _ => 20 }
    );

    public static string QueryOf(ParseResult parsed, Option<string[]> types, Option<string?> since, Option<string?> until) =>
        string.Concat(parsed.GetValue(types)!.Select(static t => $"&type={Uri.EscapeDataString(t)}"))
        + (parsed.GetValue(since) is { } from ? $"&since={Uri.EscapeDataString(from)}" : "")
        + (parsed.GetValue(until) is { } to ? $"&until={Uri.EscapeDataString(to)}" : "");

    /// <summary>As many as are wanted, over as many pages as that takes.</summary>
    public static async Task<EventList> ReadAsync(ServiceApi api, string path, string query, int limit, CancellationToken cancel)
    {
        var all = new List<EventMessage>();
        string? after = null;
        do
        {
            var count = Math.Clamp(limit - all.Count, 1, PageSize).ToString(CultureInfo.InvariantCulture);
            var next = after is null ? "" : "&after=" + Uri.EscapeDataString(after);
            var some = await api.GetAsync($"{path}?limit={count}{query}{next}", ApiJson.Default.EventList, cancel);
            all.AddRange(some.Events);
            after = some.Next;
        }
        while (after is not null && all.Count < limit);
        return new EventList(all);
    }

    public static void Write(Surroundings surroundings, Formats formats, ParseResult parsed, EventList list) => Output.WriteList(
        surroundings, formats, parsed, list, ApiJson.Default.EventList, ["at", "type", "subject", "detail"],
        list.Events.Select(static e => (string?[])[Output.Time(e.At), e.Type, e.Subject, e.Detail]));
}
