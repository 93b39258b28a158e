using System.Diagnostics.Metrics;
using Azure.Core;
using Azure.Monitor.OpenTelemetry.Exporter;
using Keylime.Functions.Hosting;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Keylime.Functions.Telemetry;

/// <summary>What listens to spans and metrics, as the environment asks for it.</summary>
internal static class TelemetryServices
{
    private const string AspNetCore = "Microsoft.AspNetCore";
    private const string Requests = "Microsoft.AspNetCore.Hosting";
    private const string ServiceName = "keylime-service";

    public static void AddTelemetry(this IServiceCollection services, ServiceOptions options)
    {
        services.AddSingleton<Instruments>();
        services.AddSingleton<FleetCount>();
        services.AddSingleton<FleetGauges>();

        var (variables, scraped) = (options.Telemetry, MetricsRoute.IsThere(options));
        var telemetry = variables.ConnectionString is not null || variables.SendsTraces || variables.SendsMetrics || scraped ? services.AddOpenTelemetry() : null;
        if (variables.ConnectionString is not null)
            services.AddOptions<AzureMonitorExporterOptions>().Configure<IServiceProvider>((to, provider) => Send(to, provider, options.Telemetry));
        telemetry?.ConfigureResource(resource => Describe(resource, variables));
        if (variables.ConnectionString is not null || variables.SendsTraces)
            telemetry?.WithTracing(traces => AddTraces(traces, options));
        if (variables.ConnectionString is not null || variables.SendsMetrics || scraped)
            telemetry?.WithMetrics(metrics => AddMetrics(metrics, options, scraped));
        StartLater(services);
    }

    // OpenTelemetry would be there before the first request is heard, which costs a tenth of the start. What comes in these milliseconds is answered, and not counted.
    private static void StartLater(IServiceCollection services)
    {
        foreach (var early in services.Where(static s => s.ServiceType == typeof(IHostedService) && s.ImplementationType?.Assembly == typeof(OpenTelemetryServicesExtensions).Assembly).ToArray())
            services.Remove(early);
        services.AddHostedService<TelemetryStart>();
    }

    private static void Describe(ResourceBuilder resource, TelemetryVariables variables)
    {
        // Given names go before ours; the instance is one process, known by nothing of its machine.
        if (!variables.All.ContainsKey("OTEL_SERVICE_NAME"))
            resource.AddService(ServiceName, serviceVersion: ServiceVersion.Text);
        resource.AddEnvironmentVariableDetector();
    }

    private static void AddTraces(TracerProviderBuilder traces, ServiceOptions options)
    {
        traces.AddSource(Traces.Name, AspNetCore);
        if (options.Telemetry.SendsTraces)
            traces.AddOtlpExporter();
        if (options.Telemetry.ConnectionString is not null)
            traces.AddAzureMonitorTraceExporter();
        traces.SetSampler(new TraceSampler(options.TraceRatio)); // at last: the exporter brings one along
    }

    private static void AddMetrics(MeterProviderBuilder metrics, ServiceOptions options, bool scraped)
    {
        metrics.AddMeter(Traces.Name, Requests);
        ((IDeferredMeterProviderBuilder)metrics).Configure((provider, builder) =>
        {
            // A process may have several services, as tests do; each one reports its own.
            var own = provider.GetRequiredService<IMeterFactory>();
            builder.AddView(instrument => ReferenceEquals(instrument.Meter.Scope, own) ? null : MetricStreamConfiguration.Drop);
        });
        if (scraped)
            metrics.AddPrometheusExporter();
        if (options.Telemetry.SendsMetrics)
            metrics.AddOtlpExporter();
        if (options.Telemetry.ConnectionString is not null)
            metrics.AddAzureMonitorMetricExporter();
    }

    private static void Send(AzureMonitorExporterOptions to, IServiceProvider provider, TelemetryVariables variables)
    {
        to.ConnectionString = variables.ConnectionString;
        to.DisableOfflineStorage = true; // an instance's disk goes with it, and what is sent late says little
        if (variables.SendsAsIdentity)
            to.Credential = provider.GetRequiredService<TokenCredential>();
    }
}
