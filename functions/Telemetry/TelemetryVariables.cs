namespace Keylime.Functions.Telemetry;

/// <summary>
/// Where telemetry goes, in the environment, by the names that OpenTelemetry and Application Insights gave them. Without any of them nothing is sent, and nothing listens but <c>/metrics</c>.
/// </summary>
/// <param name="All">Those that are set, by their names: <c>OTEL_…</c> and <c>APPLICATIONINSIGHTS_…</c>. Some carry keys of others' services: they go into no log.</param>
internal sealed record TelemetryVariables(IReadOnlyDictionary<string, string> All)
{
    private const string Otlp = "OTEL_EXPORTER_OTLP_ENDPOINT";
    private const string OtlpTraces = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    private const string OtlpMetrics = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
    private const string Connection = "APPLICATIONINSIGHTS_CONNECTION_STRING";
    private const string Authentication = "APPLICATIONINSIGHTS_AUTHENTICATION_STRING";

    public static TelemetryVariables None { get; } = new(new Dictionary<string, string>());

    public static TelemetryVariables In(IReadOnlyDictionary<string, string> environment) => new(
        environment.Where(static e => e.Value.Length > 0 && (e.Key.StartsWith("OTEL_", StringComparison.Ordinal) || e.Key is Connection or Authentication)).ToDictionary(static e => e.Key, static e => e.Value));

    public bool SendsTraces => All.ContainsKey(Otlp) || All.ContainsKey(OtlpTraces);

    public bool SendsMetrics => All.ContainsKey(Otlp) || All.ContainsKey(OtlpMetrics);

    /// <summary>Of Application Insights; <see langword="null"/> for none.</summary>
    public string? ConnectionString => All.GetValueOrDefault(Connection);

    /// <summary>Whether Application Insights wants to know who sends, by a token of Entra ID: the same variable says it to the Functions host.</summary>
    public bool SendsAsIdentity => All.GetValueOrDefault(Authentication) is { } text && text.Split(';').Any(static part => part.Trim().Equals("Authorization=AAD", StringComparison.OrdinalIgnoreCase));

    /// <summary>What is wrong with them, in sentences. Of what they say nothing is told.</summary>
    public IEnumerable<string> Objections()
    {
        foreach (var name in (string[])[Otlp, OtlpTraces, OtlpMetrics])
        {
            if (All.TryGetValue(name, out var value) && !(Uri.TryCreate(value, UriKind.Absolute, out var url) && url.Scheme is "http" or "https"))
                yield return $"{name}: http://HOST:PORT or https://HOST:PORT is expected.";
        }

        if (ConnectionString is { } connection && !IsConnection(connection))
            yield return $"{Connection}: InstrumentationKey=GUID;IngestionEndpoint=https://… is expected, as the portal shows it.";
    }

    private static bool IsConnection(string value)
    {
        var parts = value.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(static part => part.Split('=', 2)).ToList();
        return parts.All(static part => part.Length == 2)
            && parts.Any(static part => part[0].Equals("InstrumentationKey", StringComparison.OrdinalIgnoreCase) && Guid.TryParse(part[1], out _))
            && parts.Where(static part => part[0].EndsWith("Endpoint", StringComparison.OrdinalIgnoreCase)).All(static part => Uri.TryCreate(part[1], UriKind.Absolute, out _));
    }
}
