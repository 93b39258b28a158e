using Keylime.Functions.Keys;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol;

namespace Keylime.Functions.Hosting;

/// <summary>
/// Stands before every route. What a route does not declare it does not get: no rules, no answer;
/// no token of the right kind, no handler.
/// </summary>
internal sealed class Gate(
    RequestDelegate next, AccessTokens tokens, INodeStore nodes, IEventStore events, RateLimits limits, TimeProvider clock, ServiceOptions options)
{
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
        var granted = bearer is not null && (rules.Callers & Caller.Readers) != 0 ? await tokens.FindAsync(bearer, context.RequestAborted) : null;
        if (granted is not null && (rules.Callers & granted.Caller) == 0 && !rules.Callers.HasFlag(Caller.Anyone))
            return await RefuseRoleAsync(context, endpoint, granted);
        if (granted is null && rules.Callers is not Caller.Anyone && (rules.Callers & Caller.Agent) == 0)
            return await RefuseTokenAsync(context, bearer);

        AgentId id = default;
        if (context.Request.RouteValues.TryGetValue("id", out var text) && !AgentId.TryParse(text as string, null, out id))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_id", "Not an agent id: 1 to 80 of A-Z a-z 0-9 _ . - are expected.");
        if (granted is null)
            return rules.Callers.HasFlag(Caller.Anyone) ? null : await CheckAgentAsync(context, id, bearer);

        context.Features.Set(granted);
        return null;
    }

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

    private async Task<Refusal> RefuseRoleAsync(HttpContext context, RouteEndpoint endpoint, GrantedToken granted)
    {
        var role = granted.Caller.ToString().ToLowerInvariant();
        await events.AddAsync(EventRecord.OncePerMinute(EventRecord.Service, clock.GetUtcNow(), EventTypes.TokenRefused,
            $"The token '{granted.Name}', of the role {role}, was used for {context.Request.Method} {endpoint.RoutePattern.RawText}, which that role may not do.", granted.Name), context.RequestAborted);
        return new Refusal(StatusCodes.Status403Forbidden, "wrong_role", $"The token '{granted.Name}' is of the role {role}, which may not do this.")
        { Hint = $"Who may is: {(endpoint.Metadata.GetMetadata<RouteRules>()!.Callers & Caller.Readers).ToString().ToLowerInvariant()}." };
    }

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
        return context.Request.Headers.Authorization is [{ Length: > 7 and < 4096 } only] && only.StartsWith(scheme, StringComparison.OrdinalIgnoreCase)
            ? only[scheme.Length..].Trim()
            : null;
    }
}
