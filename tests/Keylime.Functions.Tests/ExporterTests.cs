using System.Collections.Concurrent;
using System.IO.Compression;
using System.Net;
using System.Text;
using Azure.Core;
using Azure.Core.Pipeline;
using Azure.Monitor.OpenTelemetry.Exporter;
using Keylime.Functions.Hosting;
using Keylime.Functions.Telemetry;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;

namespace Keylime.Functions.Tests;

/// <summary>What is sent to who collects telemetry, over real HTTP: that it arrives, and that it holds no secret.</summary>
public sealed class ExporterTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Spans_and_metrics_arrive_by_OTLP()
    {
        await using var collector = await Collector.StartAsync();
        await using var service = await TestService.StartAsync(configure: o => o with
        {
            TraceRatio = 1,
            Telemetry = Variables(
                ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.Url), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")),
        });
        using var agent = await AttestAsync(service);
        var traces = await collector.WaitAsync("/v1/traces", "add verdicts");
        Assert.Contains("PATCH /v3.0/agents/{id}/attestations/{number}", collector.All("/v1/traces"), StringComparison.Ordinal);
        Assert.Contains("keylime-service", traces, StringComparison.Ordinal);
        Assert.Contains("keylime.attestations", await collector.WaitAsync("/v1/metrics", "keylime.attestations"), StringComparison.Ordinal);
        Assert.Contains("keylime.sweep.lag", await collector.WaitAsync("/v1/metrics", "keylime.sweep.lag"), StringComparison.Ordinal);
        NoSecretIn(collector, service, agent);
    }

    [Fact]
    public async Task Azure_Monitor_gets_spans_and_metrics_from_the_services_own_identity()
    {
        await using var collector = await Collector.StartAsync();
        using var inner = new SocketsHttpHandler();
        using var to = new Elsewhere(new Uri(collector.Url)) { InnerHandler = inner };
        using var client = new HttpClient(to);
        await using var service = await TestService.StartAsync(
            services =>
            {
                services.Replace(ServiceDescriptor.Singleton<TokenCredential>(new MonitorToken()));
                services.PostConfigureAll<AzureMonitorExporterOptions>(options => options.Transport = new HttpClientTransport(client));
            },
            configure: o => o with
            {
                TraceRatio = 0.999999,
                Telemetry = Variables(
                    ("APPLICATIONINSIGHTS_CONNECTION_STRING", "InstrumentationKey=00000000-0000-0000-0000-00000000000a;IngestionEndpoint=https://ingestion.example/"),
                    ("APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "ClientId=1;Authorization=AAD")),
            });
        using var agent = await AttestAsync(service);
        Assert.Contains("add verdicts", await collector.WaitAsync("/v2.1/track", "\"microsoft.sample_rate\":\"99.9999"), StringComparison.Ordinal); // by our sampler, not one of theirs
        Assert.Contains("keylime.attestations", await collector.WaitAsync("/v2.1/track", "keylime.attestations"), StringComparison.Ordinal);
        Assert.All(collector.Requests, static r => Assert.Equal("Bearer " + MonitorToken.Value, r.Authorization));
        NoSecretIn(collector, service, agent);
    }

    [Fact]
    public void Where_telemetry_goes_is_checked_at_the_start_and_never_told()
    {
        const string key = "InstrumentationKey=00000000-0000-0000-0000-00000000000a";
        (string Name, string Value)[] bad =
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317-secret"), ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "ftp://secret/"), ("APPLICATIONINSIGHTS_CONNECTION_STRING", "secret"),
            ("APPLICATIONINSIGHTS_CONNECTION_STRING", key + ";IngestionEndpoint=secret"),
        ];
        foreach (var (name, value) in bad)
        {
            Assert.False(Settings.TryRead([], new Dictionary<string, string> { [name] = value }, out _, out var errors));
            var error = Assert.Single(errors);
            Assert.StartsWith(name + ": ", error, StringComparison.Ordinal);
            Assert.DoesNotContain("secret", error, StringComparison.Ordinal);
        }

        Assert.True(Settings.TryRead(["--trace-ratio", "0.001"], new Dictionary<string, string> { ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:4317", ["APPLICATIONINSIGHTS_CONNECTION_STRING"] = key }, out var good, out _));
        Assert.Equal((0.001, true, true, key, false), (good.TraceRatio, good.Telemetry.SendsTraces, good.Telemetry.SendsMetrics, good.Telemetry.ConnectionString, good.Telemetry.SendsAsIdentity));
        foreach (var ratio in (string[])["1.01", "-1", "5%", "0,5", ""])
            Assert.False(Settings.TryRead(["--trace-ratio", ratio], new Dictionary<string, string>(), out _, out _));
    }

    private static TelemetryVariables Variables(params (string Name, string Value)[] all) => new(all.ToDictionary(static v => v.Name, static v => v.Value));

    private static async Task<TestAgent> AttestAsync(TestService service)
    {
        var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();
        Assert.True(await service.SweepAsync());
        service.Get<MeterProvider>().ForceFlush(10_000); // it would come by itself, in a minute; false is said of /metrics, which sends nothing
        Assert.True(service.Get<TracerProvider>().ForceFlush(10_000));
        return agent;
    }

    private static void NoSecretIn(Collector collector, TestService service, TestAgent agent)
    {
        var all = string.Join('\n', collector.Requests.Select(static r => r.Body));
        Assert.True(all.Length > 1000);
        foreach (var secret in (string[])[service.TokenOf("operator"), agent.Token!, agent.Token!.Split('.')[0]])
            Assert.DoesNotContain(secret, all, StringComparison.Ordinal);
    }

    /// <summary>Takes whatever comes.</summary>
    private sealed class Collector(WebApplication app) : IAsyncDisposable
    {
        public ConcurrentQueue<(string Path, string? Authorization, string Body)> Requests { get; } = new();

        public string Url => app.Urls.Single() + "/";

        public static async Task<Collector> StartAsync()
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            builder.WebHost.ConfigureKestrel(static kestrel => kestrel.Listen(IPAddress.Loopback, 0));
            var app = builder.Build();
            var collector = new Collector(app);
            app.Run(collector.TakeAsync);
            await app.StartAsync(Cancel);
            return collector;
        }

        public string All(string path) => string.Join('\n', Requests.Where(r => r.Path == path).Select(static r => r.Body));

        public async Task<string> WaitAsync(string path, string text)
        {
            var start = TimeProvider.System.GetTimestamp();
            while (TimeProvider.System.GetElapsedTime(start) < Patience)
            {
                if (Requests.FirstOrDefault(r => r.Path == path && r.Body.Contains(text, StringComparison.Ordinal)) is { Body: { } body })
                    return body;
                await Task.Delay(50, Cancel);
            }

            throw new TimeoutException($"'{text}' did not come to {path}; {Requests.Count} requests came, to {string.Join(' ', Requests.Select(static r => r.Path).Distinct())}");
        }

        public ValueTask DisposeAsync() => app.DisposeAsync();

        private async Task TakeAsync(HttpContext context)
        {
            using var body = new MemoryStream();
            await using (var stream = context.Request.Headers.ContentEncoding == "gzip" ? new GZipStream(context.Request.Body, CompressionMode.Decompress) : context.Request.Body)
                await stream.CopyToAsync(body, context.RequestAborted);
            Requests.Enqueue((context.Request.Path, context.Request.Headers.Authorization, Encoding.UTF8.GetString(body.ToArray())));
            context.Response.ContentType = "application/json";
            await context.Response.WriteAsync("{}", context.RequestAborted);
        }
    }

    private sealed class MonitorToken : TokenCredential
    {
        public const string Value = "a-token-for-azure-monitor";

        public override AccessToken GetToken(TokenRequestContext requestContext, CancellationToken cancellationToken)
        {
            Assert.StartsWith("https://monitor.azure.com/", Assert.Single(requestContext.Scopes), StringComparison.Ordinal);
            return new AccessToken(Value, DateTimeOffset.MaxValue);
        }

        public override ValueTask<AccessToken> GetTokenAsync(TokenRequestContext requestContext, CancellationToken cancellationToken) => new(GetToken(requestContext, cancellationToken));
    }

    /// <summary>Whatever the address, here: who sends a token sends it by HTTPS alone, and believes that this is.</summary>
    private sealed class Elsewhere(Uri here) : DelegatingHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            request.RequestUri = new Uri(here, request.RequestUri!.PathAndQuery);
            return base.SendAsync(request, cancellationToken);
        }
    }
}
