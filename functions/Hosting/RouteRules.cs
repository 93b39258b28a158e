namespace Keylime.Functions.Hosting;

/// <summary>Who may call a route.</summary>
internal enum Caller
{
    /// <summary>Whoever reaches it. Such a route changes nothing that others rely on.</summary>
    Anyone,

    /// <summary>The agent that the path names, by the token that its proof of possession earned.</summary>
    Agent,

    Operator,

    AgentOrOperator,
}

/// <summary>Whose API a route belongs to: it decides what a refusal looks like.</summary>
internal enum ApiFamily
{
    /// <summary>Keylime v2: an envelope of code, status and results.</summary>
    Registrar,

    /// <summary>Keylime v3 sessions, and everything about tokens: bare error objects.</summary>
    Sessions,

    /// <summary>Keylime v3 attestations: JSON:API error documents.</summary>
    Attestations,

    /// <summary>Ours: problem details.</summary>
    Own,
}

/// <summary>What holds for a route. A route without rules answers nobody.</summary>
/// <param name="MaxBody">In bytes; what is longer gets 413.</param>
/// <param name="PlainHttp">True where the listener without TLS answers too.</param>
internal sealed record RouteRules(Caller Caller, ApiFamily Family, long MaxBody = RouteRules.NoBody, bool PlainHttp = false)
{
    public const long NoBody = 4 * 1024;
    public const long RegistrarBody = 256 * 1024;
    public const long SessionBody = 64 * 1024;
    public const long CapabilitiesBody = 256 * 1024;
    public const long EvidenceBody = 64 * 1024 * 1024;
    public const long PolicyBody = 64 * 1024 * 1024;
    public const long NodeBody = 256 * 1024;
}

internal static class RouteRulesExtensions
{
    /// <summary>Declares the rules of a route; see <see cref="Gate"/>.</summary>
    public static void Under(this RouteHandlerBuilder route, RouteRules rules) => route.WithMetadata(rules);
}
