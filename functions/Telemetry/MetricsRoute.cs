using Keylime.Functions.Hosting;

namespace Keylime.Functions.Telemetry;

/// <summary><c>GET /metrics</c>: what Prometheus scrapes, with the token of a reader. Under the Functions host there is none: from outside, nobody can tell the instances apart.</summary>
internal static class MetricsRoute
{
    public static bool IsThere(ServiceOptions options) => options.HandlerPort is null;

    public static void Map(IEndpointRouteBuilder routes)
    {
        if (!IsThere(routes.ServiceProvider.GetRequiredService<ServiceOptions>()))
            return;
        var scrape = new Lazy<RequestDelegate>(() => routes.CreateApplicationBuilder().UseOpenTelemetryPrometheusScrapingEndpoint(static _ => true).Build()); // not at the start
        routes.MapGet("/metrics", (Delegate)((HttpContext context) => scrape.Value(context)))
            .Under(new(Caller.Readers, ApiFamily.Own), new("Metrics, as text for Prometheus.") { RawAnswer = MediaTypes.PlainText });
    }
}
