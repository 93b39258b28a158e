using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol;
using Keylime.Protocol.Api;
using Payload = Keylime.Functions.Storage.Payload;

namespace Keylime.Functions.Payloads;

/// <summary><c>GET /v1/payloads/{name}/grants</c> and <c>…/releases</c>: who would get a payload now, and who did or did not.</summary>
internal static class LedgerRoutes
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        var rules = new RouteRules(Caller.Readers, ApiFamily.Own);
        routes.MapGet("/v1/payloads/{name}/grants", GrantsAsync).Under(
            rules, new("The nodes that a payload is meant for, and whether each would get it now.", null, ApiJson.Default.PayloadGrantList) { Query = QueryParameters.Pages });
        routes.MapGet("/v1/payloads/{name}/releases", ReleasesAsync).Under(
            rules, new("Each decision on a request for a payload, newest first.", null, ApiJson.Default.ReleaseList) { Query = QueryParameters.Pages });
    }

    /// <summary>What the handler works with.</summary>
    internal sealed record Dependencies(
        IRecordStore<Payload> Payloads, INodeStore Nodes, IVerdictStore Verdicts, IRecordStore<Registration> Registrations, IRecordStore<PayloadClaim> Claims, IRecordStore<PayloadShare> Shares,
        Heartbeat Heartbeat, TimeProvider Clock);

    private static async Task<IResult> GrantsAsync(string name, HttpContext context, Dependencies use, CancellationToken cancel)
    {
        if (!Paging.TryRead(context.Request.Query["after"], context.Request.Query["limit"], out var start, out var count, out var refusal))
            return refusal;
        if (await PayloadRoutes.FindAsync(use.Payloads, name, cancel) is not { Value: var payload })
            return PayloadRoutes.NotFound();

        // A few nodes that are named are looked up; a group or a policy is looked for among all, a page at a time.
        var page = payload.For.Nodes is { } named
            ? new Page<Node>([.. await NamedAsync(named, use.Nodes, cancel)], null)
            : await use.Nodes.ListAsync(new NodeQuery(await use.Heartbeat.NowAsync(cancel)), start, count, cancel);
        var grants = new List<PayloadGrant>();
        foreach (var node in page.Items.Where(n => Audience.Has(payload.For, n)))
            grants.Add(await GrantAsync(payload, node, use, cancel));
        return Answer.Json(StatusCodes.Status200OK, new PayloadGrantList(grants) { Next = page.Next?.ToString() }, ApiJson.Default.PayloadGrantList);
    }

    private static async Task<PayloadGrant> GrantAsync(Payload payload, Node node, Dependencies use, CancellationToken cancel)
    {
        VerdictRecord? verdict = null;
        try
        {
            verdict = node.Last is { Attestation: var number } ? await use.Verdicts.FindAsync(node.Id, number, cancel) : null;
        }
        catch (UnreadableRowException)
        {
            // the decision says that there is none
        }

        var registration = await use.Registrations.FindAsync(node.Id.ToString(), cancel);
        var key = PayloadShare.KeyOf(payload.Name, payload.Version, node.Id);
        if (ReleaseDecision.Of(payload, node, verdict, registration?.Value, use.Clock.GetUtcNow()) is ReleaseDecision.Withheld(var code, var detail))
            return new PayloadGrant(node.Id, code, detail);
        if (payload.Split && await use.Shares.FindAsync(key, cancel) is null)
            return new PayloadGrant(node.Id, "no_share", "Nobody has sealed the other part of its key to this machine.");
        return payload.Terms.Once && await use.Claims.FindAsync(key, cancel) is { Value.Release.At: var at }
            ? new PayloadGrant(node.Id, ReleaseLedger.AlreadyReleased, $"It is released once, and was at {at:u}.")
            : new PayloadGrant(node.Id, ReleaseLedger.Granted, "It would get it now.");
    }

    private static async Task<List<Node>> NamedAsync(IReadOnlyList<AgentId> ids, INodeStore nodes, CancellationToken cancel)
    {
        var found = new List<Node>();
        foreach (var id in ids)
        {
            if (await nodes.FindAsync(id, cancel) is { Value: var node })
                found.Add(node);
        }

        return found;
    }

    private static async Task<IResult> ReleasesAsync(string name, HttpContext context, IRecordStore<Payload> payloads, IRecordStore<Release> releases, CancellationToken cancel)
    {
        if (!Paging.TryRead(context.Request.Query["after"], context.Request.Query["limit"], out var start, out var count, out var refusal))
            return refusal;
        if (await PayloadRoutes.FindAsync(payloads, name, cancel) is null)
            return PayloadRoutes.NotFound();
        var page = await releases.ListOfAsync(name + "~", start, count, cancel);
        return Answer.Json(StatusCodes.Status200OK, new ReleaseList([.. page.Items.Select(static r => r.Message)]) { Next = page.Next?.ToString() }, ApiJson.Default.ReleaseList);
    }
}
