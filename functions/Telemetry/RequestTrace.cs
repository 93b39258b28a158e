using System.Diagnostics;
using Microsoft.AspNetCore.Http.Features;

namespace Keylime.Functions.Telemetry;

/// <summary>
/// Says of the span of a request what it was: method, route and status. ASP.NET Core opens that span, and continues the trace of whoever sent <c>traceparent</c>, as the Functions host does. The path
/// itself stays out of it: it names machines, and sessions.
/// </summary>
internal sealed class RequestTrace(RequestDelegate next)
{
    public Task InvokeAsync(HttpContext context) =>
        Traces.Source.HasListeners() && context.Features.Get<IHttpActivityFeature>()?.Activity is { IsAllDataRequested: true } span ? TracedAsync(context, span) : next(context);

    private async Task TracedAsync(HttpContext context, Activity span)
    {
        try
        {
            await next(context);
        }
        finally
        {
            var route = (context.GetEndpoint() as RouteEndpoint)?.RoutePattern.RawText is { } text ? "/" + text.TrimStart('/') : null;
            var status = context.Response.StatusCode;
            span.DisplayName = route is null ? MethodOf(context) : $"{MethodOf(context)} {route}";
            span.SetTag("http.request.method", MethodOf(context)).SetTag("url.scheme", context.Request.Scheme).SetTag("http.route", route).SetTag("http.response.status_code", status);
            if (status >= StatusCodes.Status500InternalServerError)
                span.SetStatus(ActivityStatusCode.Error).SetTag("error.type", status.ToString(System.Globalization.CultureInfo.InvariantCulture));
        }
    }

    // Whoever calls may name any method.
    private static string MethodOf(HttpContext context) => context.Request.Method is "GET" or "POST" or "PUT" or "PATCH" or "DELETE" or "HEAD" or "OPTIONS" ? context.Request.Method : "_OTHER";
}
