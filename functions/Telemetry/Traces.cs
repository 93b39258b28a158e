using System.Diagnostics;
using Keylime.Functions.Hosting;

namespace Keylime.Functions.Telemetry;

/// <summary>The spans of the service. Names and attributes are in docs/telemetry.md; none of them names a machine, a session or a secret.</summary>
internal static class Traces
{
    public const string Name = "Keylime.Functions";

    public static readonly ActivitySource Source = new(Name, ServiceVersion.Text);

    /// <summary>Whether a span of a part would be kept: somebody listens, and the request or the run that it is a part of is kept.</summary>
    public static bool IsKept => Source.HasListeners() && Activity.Current is { IsAllDataRequested: true };

    /// <summary>A run that nobody asked for: a sweep, a round of deliveries.</summary>
    public static Activity? Run(string name) => Source.StartActivity(name);

    /// <summary>Marks a span as failed: by the kind of exception, and never by its words.</summary>
    public static void Fail(this Activity span, Exception e) => span.SetStatus(ActivityStatusCode.Error).SetTag("error.type", e.GetType().Name);
}
