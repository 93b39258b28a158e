using Keylime.Functions.Access;
using Keylime.Functions.Nodes;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol;

namespace Keylime.Functions.Hosting;

/// <summary>
/// Stands before every route. What a route does not declare it does not get: no rules, no answer;
/// no token of the right kind, no handler.
/// </summary>
internal sealed class Gate(
    RequestDelegate next, Credentials credentials, INodeStore nodes, IEventStore events, RateLimits limits, TimeProvider clock, ServiceOptions options)
{
    /// <summary>The longest token that is looked at, in bytes: Entra ID's have up to two hundred roles in them.</summary>
    public const int MaxBearer = 16 * 1024;

    // Each way in which the host forwards a client's request adds one of these, so a request that has any is not the host's own.
    private static readonly string[] ForwardedHeaders = ["X-Forwarded-Host", "X-Forwarded-For", "X-Forwarded-Proto", "x-ms-invocation-id", "X-ARR-LOG-ID", "Forwarded"];

    public async Task InvokeAsync(HttpContext context)
    {
        if (context.GetEndpoint() is not RouteEndpoint endpoint)
        {
            await next(context); // no such path or no such method: routing answers that by itself
            return;
        }

        if (await CheckAsync(context, endpoint, endpoint.Metadata.GetMetadata<RouteRules>()) is { } refusal)
            await refusal.ExecuteAsync(context);
        else
            await next(context);
    }

    private async Task<Refusal?> CheckAsync(HttpContext context, RouteEndpoint endpoint, RouteRules? rules)
    {
        if (rules is null)
            return new Refusal(StatusCodes.Status500InternalServerError, "undeclared_route", "This route does not say who may call it, so nobody may.");
        if (!context.Request.IsHttps && !rules.PlainHttp && options.HandlerPort is null)
            return new Refusal(StatusCodes.Status400BadRequest, "https_required", "This route answers over HTTPS only.");
        if (rules.Callers == Caller.HostTrigger)
            return IsHostsOwn(context) ? null : new Refusal(StatusCodes.Status403Forbidden, "host_only", "Only the Functions host calls this, on its own behalf.");

        var bearer = Bearer(context);
        var credential = bearer is not null && (rules.Callers & Caller.Readers) != 0 ? await credentials.FindAsync(bearer, context.RequestAborted) : null;
        var granted = (credential as Credential.Good)?.Grant;
        var scope = granted?.ScopeFor(rules.Callers);
        if (!rules.Callers.HasFlag(Caller.Anyone))
        {
            if (granted is not null && scope is null)
                return await RefuseRoleAsync(context, endpoint, granted);
            if (credential is not null and not Credential.Good and not Credential.Unknown)
                return await RefuseEntraAsync(context, credential);
        }

        if (granted is null && rules.Callers is not Caller.Anyone && (rules.Callers & Caller.Agent) == 0)
            return await RefuseTokenAsync(context, bearer);

        AgentId id = default;
        if (context.Request.RouteValues.TryGetValue("id", out var text) && !AgentId.TryParse(text as string, null, out id))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_id", "Not an agent id: 1 to 80 of A-Z a-z 0-9 _ . - are expected.");
        if (granted is null)
            return rules.Callers.HasFlag(Caller.Anyone) ? null : await CheckAgentAsync(context, id, bearer);

        context.Features.Set(granted);
        context.Features.Set(scope);
        return scope is null || scope.IsAll ? null : await CheckScopeAsync(context, endpoint, rules, granted, scope, id);
    }

    // Of a node of others nothing is said, not even that it is there.
    private async Task<Refusal?> CheckScopeAsync(HttpContext context, RouteEndpoint endpoint, RouteRules rules, Grant granted, CallerScope scope, AgentId id) => rules.Scoped switch
    {
        Scoping.Handler => null,
        Scoping.Node when context.Request.RouteValues.ContainsKey("id") => await nodes.FindAsync(id, scope, context.RequestAborted) is null ? GetNode.NotFound(id) : null,
        _ => await RefuseScopeAsync(context, endpoint, granted, scope),
    };

    private async Task<Refusal?> CheckAgentAsync(HttpContext context, AgentId id, string? token)
    {
        if (token is null)
            return Unauthorized(context, "Invalid authentication token");

        // The token of another agent is compared with this one's, and is nothing here.
        var node = await nodes.FindAsync(id, context.RequestAborted);
        if (node?.Value.Session is not { } session || !SessionTokens.Matches(token, session.TokenHash.Span))
        {
            if (node is not null)
                await events.AddAsync(EventRecord.OncePerMinute(id, clock.GetUtcNow(), EventTypes.TokenRefused, "Somebody came with a token that is not this agent's, or was."), context.RequestAborted);
            return Unauthorized(context, "Invalid authentication token");
        }

        if (session.ExpiresAt <= clock.GetUtcNow())
            return Unauthorized(context, "Authentication token expired");

        context.Features.Set(node);
        return null;
    }

    private async Task<Refusal> RefuseRoleAsync(HttpContext context, RouteEndpoint endpoint, Grant granted)
    {
        await TellRefusedAsync(context, endpoint, granted);
        return new Refusal(StatusCodes.Status403Forbidden, "wrong_role", $"{granted.Who} is of the role {granted.RolesInWords}, which may not do this.")
        { Hint = $"Who may is: {(endpoint.Metadata.GetMetadata<RouteRules>()!.Callers & Caller.Readers).ToString().ToLowerInvariant()}." };
    }

    private async Task<Refusal> RefuseScopeAsync(HttpContext context, RouteEndpoint endpoint, Grant granted, CallerScope scope)
    {
        await TellRefusedAsync(context, endpoint, granted);
        return new Refusal(StatusCodes.Status403Forbidden, "scoped_role", $"{granted.Who} has a role for the nodes of {scope} alone, which may not do this: it is not about one group.")
        { Hint = "It needs the same role for the whole service, without a group." };
    }

    private Task TellRefusedAsync(HttpContext context, RouteEndpoint endpoint, Grant granted) => events.AddAsync(
        EventRecord.OncePerMinute(EventRecord.Service, clock.GetUtcNow(), EventTypes.TokenRefused,
            $"{granted.Who}, of the role {granted.RolesInWords}, was used for {context.Request.Method} {endpoint.RoutePattern.RawText}, which that role may not do.", CauseOf(granted.Token ?? granted.Name)),
        context.RequestAborted);

    private async Task<Refusal> RefuseEntraAsync(HttpContext context, Credential credential)
    {
        if (limits.CheckAddress(context) is { } limited)
            return limited; // whoever guesses is slowed down
        switch (credential)
        {
            case Credential.Refused { Why: var why }:
                await events.AddAsync(EventRecord.OncePerMinute(EventRecord.Service, clock.GetUtcNow(), EventTypes.TokenRefused, $"Somebody came with a token of Entra ID: {why}", "entra"), context.RequestAborted);
                return Unauthorized(context, why);
            case Credential.NoRole { Name: var name }:
                await events.AddAsync(EventRecord.OncePerMinute(EventRecord.Service, clock.GetUtcNow(), EventTypes.TokenRefused, $"'{name}' signed in at Entra ID and has no role of this service.", CauseOf(name)), context.RequestAborted);
                return new Refusal(StatusCodes.Status403Forbidden, "no_role", $"'{name}' has no role of this service, which may not do this.")
                { Hint = "An administrator of the directory gives the app role Keylime.Operator, Keylime.Approver or Keylime.Auditor, or one of them with :GROUP behind it." };
            case Credential.Undecided { Why: var why }:
                return new Refusal(StatusCodes.Status503ServiceUnavailable, "issuer_unavailable", why) { RetryAfter = (int)EntraKeys.Pause.TotalSeconds, Hint = "The service's own tokens work meanwhile." };
            default:
                throw new System.Diagnostics.UnreachableException();
        }
    }

    // A key of a row takes not every character that a name has.
    private static string CauseOf(string name) => EntraNames.IdIn(name) ?? name;

    private async Task<Refusal> RefuseTokenAsync(HttpContext context, string? bearer)
    {
        if (limits.CheckAddress(context) is { } limited)
            return limited; // whoever guesses is slowed down
        if (bearer is not null)
            await events.AddAsync(EventRecord.OncePerMinute(EventRecord.Service, clock.GetUtcNow(), EventTypes.TokenRefused, "Somebody came with a token that opens nothing, or that has expired."), context.RequestAborted);
        return Unauthorized(context, "A token of the service is expected: Authorization: Bearer …");
    }

    // The host listens on the loopback for us alone, and calls by that address and nothing forwarded; and it sends its envelopes in chunks. What a client sends in chunks never arrives where requests are
    // forwarded, and carries a proxy's headers where they are proxied: so a client that guesses our port, and spells a path that the host tidies into a trigger's, is told from the host.
    private bool IsHostsOwn(HttpContext context) =>
        options.HandlerPort is { } port
        && context.Connection.RemoteIpAddress is { } address && System.Net.IPAddress.IsLoopback(address)
        && context.Request.ContentLength is null && context.Request.Headers.TransferEncoding.ToString().Equals("chunked", StringComparison.OrdinalIgnoreCase)
        && context.Request.Host is { Host: "127.0.0.1" or "localhost", Port: var named } && named == port
        && !ForwardedHeaders.Any(context.Request.Headers.ContainsKey);

    private static Refusal Unauthorized(HttpContext context, string detail) => new(
        StatusCodes.Status401Unauthorized, "unauthorized",
        context.Request.Headers.Authorization.Count == 0 ? "Authentication required: " + detail : detail);

    private static string? Bearer(HttpContext context)
    {
        const string scheme = "Bearer ";
        return context.Request.Headers.Authorization is [{ Length: > 7 and <= MaxBearer } only] && only.StartsWith(scheme, StringComparison.OrdinalIgnoreCase)
            ? only[scheme.Length..].Trim()
            : null;
    }
}
