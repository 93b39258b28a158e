using System.Globalization;
using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Nodes;

/// <summary>
/// <c>GET /v1/nodes/{id}/events</c> and <c>GET /v1/events</c>: what happened to a node, or to the whole fleet, newest first. An id that is only
/// registered has events too.
/// </summary>
internal static class ListEvents
{
    private const int MaxTypes = 16;

    public static void Map(IEndpointRouteBuilder routes)
    {
        var rules = new RouteRules(Caller.Readers, ApiFamily.Own);
        routes.MapGet("/v1/nodes/{id}/events", HandleNodeAsync).Under(rules with { Scoped = Scoping.Node }, new("What happened to a node, newest first.", null, ApiJson.Default.EventList)
        {
            Query = [QueryParameters.Type, QueryParameters.Since, QueryParameters.Until, .. QueryParameters.Pages],
        });
        routes.MapGet("/v1/events", HandleAllAsync).Under(rules with { Scoped = Scoping.Handler }, new("What happened to the whole fleet, newest first.", null, ApiJson.Default.EventList)
        {
            Query = [QueryParameters.Subject, QueryParameters.Type, QueryParameters.Since, QueryParameters.Until, .. QueryParameters.Pages],
        });
    }

    private static async Task<IResult> HandleNodeAsync(
        AgentId id, HttpContext context, INodeStore nodes, IRecordStore<Registration> registrations, IEventStore events, CancellationToken cancel)
    {
        if (!TryRead(context, id.ToString(), out var query, out var start, out var count, out var refusal))
            return refusal;
        var page = await events.ListAsync(query, start, count, cancel);
        if (page.Items.Count == 0 && await nodes.FindAsync(id, cancel) is null && await registrations.FindAsync(id.ToString(), cancel) is null)
            return GetNode.NotFound(id);
        return Write(page);
    }

    private static async Task<IResult> HandleAllAsync(HttpContext context, IEventStore events, INodeStore nodes, IRecordStore<PolicyRecord> policies, CancellationToken cancel)
    {
        var subject = context.Request.Query["subject"] is [{ Length: > 0 } named] ? named : null;
        if (!TryRead(context, subject, out var query, out var start, out var count, out var refusal))
            return refusal;
        var page = await events.ListAsync(query, start, count, cancel);
        return Write(context.Scope().IsAll ? page : await OnlyOfAsync(page, context.Scope(), nodes, policies, cancel));
    }

    // By what the rows say now, each asked once. What is of no node and no policy is of no group.
    private static async Task<Page<EventRecord>> OnlyOfAsync(Page<EventRecord> page, CallerScope scope, INodeStore nodes, IRecordStore<PolicyRecord> policies, CancellationToken cancel)
    {
        var theirs = new HashSet<string>(StringComparer.Ordinal);
        foreach (var subject in page.Items.Select(static e => e.Subject).Distinct(StringComparer.Ordinal))
        {
            try
            {
                if (AgentId.TryParse(subject, null, out var id) ? await nodes.FindAsync(id, scope, cancel) is not null
                    : subject.StartsWith(EventRecord.PolicyPrefix, StringComparison.Ordinal) && await policies.FindAsync(subject[EventRecord.PolicyPrefix.Length..], scope, cancel) is not null)
                {
                    theirs.Add(subject);
                }
            }
            catch (UnreadableRowException)
            {
                // whose it is nobody can tell, so it is not theirs
            }
        }

        return page with { Items = [.. page.Items.Where(e => theirs.Contains(e.Subject))] };
    }

    private static bool TryRead(
        HttpContext context, string? subject, out EventQuery query, out Continuation? start, out int count,
        [System.Diagnostics.CodeAnalysis.NotNullWhen(false)] out Refusal? refusal)
    {
        query = new EventQuery(subject);
        var values = context.Request.Query;
        if (!Paging.TryRead(values["after"], values["limit"], out start, out count, out refusal))
            return false;

        string[] types = [.. values["type"].SelectMany(static t => (t ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries))];
        if (types.Length > MaxTypes || types.FirstOrDefault(static t => !EventTypes.All.Contains(t)) is { } unknown && unknown.Length > 0)
            refusal = Bad($"type is one of {string.Join(", ", EventTypes.All)}.");
        else if (!TryReadTime(values["since"], out var since))
            refusal = Bad("since is no time: 2026-11-24T12:00:00Z is expected.");
        else if (!TryReadTime(values["until"], out var until))
            refusal = Bad("until is no time: 2026-11-24T12:00:00Z is expected.");
        else
            query = new EventQuery(subject, types, since, until);
        return refusal is null;
    }

    /// <summary>Reads a time of a query; nothing at all is no time, and is fine.</summary>
    public static bool TryReadTime(string? text, out DateTimeOffset? time)
    {
        time = null;
        if (string.IsNullOrEmpty(text))
            return true;
        if (!DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var read))
            return false;
        time = read;
        return true;
    }

    private static Answer<EventList> Write(Page<EventRecord> page) => Answer.Json(StatusCodes.Status200OK,
        new EventList([.. page.Items.Select(static e => e.Message)]) { Next = page.Next?.ToString() },
        ApiJson.Default.EventList);

    private static Refusal Bad(string detail) => new(StatusCodes.Status400BadRequest, "invalid_query", detail);
}
