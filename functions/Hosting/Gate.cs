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
    RequestDelegate next, OperatorToken operatorToken, INodeStore nodes, TimeProvider clock, ServiceOptions options)
{
    public async Task InvokeAsync(HttpContext context)
    {
        if (context.GetEndpoint() is not RouteEndpoint endpoint)
        {
            await next(context); // no such path or no such method: routing answers that by itself
            return;
        }

        if (await CheckAsync(context, endpoint.Metadata.GetMetadata<RouteRules>()) is { } refusal)
            await refusal.ExecuteAsync(context);
        else
            await next(context);
    }

    private async Task<Refusal?> CheckAsync(HttpContext context, RouteRules? rules)
    {
        if (rules is null)
            return new Refusal(StatusCodes.Status500InternalServerError, "undeclared_route", "This route does not say who may call it, so nobody may.");
        if (!context.Request.IsHttps && !rules.PlainHttp && options.HandlerPort is null)
            return new Refusal(StatusCodes.Status400BadRequest, "https_required", "This route answers over HTTPS only.");

        var byOperator = rules.Caller is Caller.Operator or Caller.AgentOrOperator && operatorToken.Matches(Bearer(context));
        if (rules.Caller == Caller.Operator && !byOperator)
            return Unauthorized(context, "The operator's token is expected: Authorization: Bearer …");

        AgentId id = default;
        if (context.Request.RouteValues.TryGetValue("id", out var text) && !AgentId.TryParse(text as string, null, out id))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_id", "Not an agent id: 1 to 80 of A-Z a-z 0-9 _ . - are expected.");

        return rules.Caller is Caller.Anyone or Caller.Operator || byOperator ? null : await CheckAgentAsync(context, id);
    }

    private async Task<Refusal?> CheckAgentAsync(HttpContext context, AgentId id)
    {
        if (Bearer(context) is not { } token)
            return Unauthorized(context, "Invalid authentication token");

        // The token of another agent is compared with this one's, and is nothing here.
        var node = await nodes.FindAsync(id, context.RequestAborted);
        if (node?.Value.Session is not { } session || !SessionTokens.Matches(token, session.TokenHash.Span))
            return Unauthorized(context, "Invalid authentication token");
        if (session.ExpiresAt <= clock.GetUtcNow())
            return Unauthorized(context, "Authentication token expired");

        context.Features.Set(node);
        return null;
    }

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
