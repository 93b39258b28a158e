using System.Text.Json.Serialization.Metadata;

namespace Keylime.Functions.Hosting;

/// <summary>Who may call a route.</summary>
[Flags]
internal enum Caller
{
    None = 0,

    /// <summary>Whoever reaches it. Such a route changes nothing that others rely on.</summary>
    Anyone = 1,

    /// <summary>The agent that the path names, by the token that its proof of possession earned.</summary>
    Agent = 2,

    Operator = 4,

    Approver = 8,

    Auditor = 16,

    /// <summary>The Functions host itself, for a timer or a queue item.</summary>
    HostTrigger = 32,

    /// <summary>Everybody with a token of a person or a program.</summary>
    Readers = Operator | Approver | Auditor,
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

/// <summary>What a route knows of callers whose role is for groups of nodes alone.</summary>
internal enum Scoping
{
    /// <summary>Nothing: they may not.</summary>
    Refused,

    /// <summary>It is about the node that the path names: they may, if that is of their groups.</summary>
    Node,

    /// <summary>It asks for <see cref="Access.CallerScope"/> itself.</summary>
    Handler,
}

/// <summary>What holds for a route. A route without rules answers nobody.</summary>
/// <param name="MaxBody">In bytes; what is longer gets 413.</param>
/// <param name="PlainHttp">True where the listener without TLS answers too.</param>
internal sealed record RouteRules(Caller Callers, ApiFamily Family, long MaxBody = RouteRules.NoBody, bool PlainHttp = false)
{
    /// <summary>What callers may do here whose role is for groups of nodes alone.</summary>
    public Scoping Scoped { get; init; } = Scoping.Refused;

    public const long NoBody = 4 * 1024;
    public const long RegistrarBody = 256 * 1024;
    public const long SessionBody = 64 * 1024;
    public const long CapabilitiesBody = 256 * 1024;
    public const long EvidenceBody = 64 * 1024 * 1024;
    public const long PolicyBody = 192 * 1024 * 1024; // a million digests with long paths, signed
    public const long PayloadBody = 64 * 1024;
    public const long PayloadPartBody = Protocol.Payloads.PayloadParts.Size;
    public const long WebhookBody = 16 * 1024;
    public const long QueueBody = 256 * 1024; // a message has 64 KiB at most, and is encoded two or three times
    public const long NodeBody = 256 * 1024;
    public const long CertificatesBody = 4 * 1024 * 1024;
    public const long KnownKeysBody = 8 * 1024 * 1024;
}

/// <summary>What a route does, for the OpenAPI document.</summary>
/// <param name="Request">The body's type; <see langword="null"/> for none, or for one that is no JSON of ours.</param>
/// <param name="Answer">The type of what it answers when all is well; <see langword="null"/> for nothing, or no JSON of ours.</param>
internal sealed record RouteDoc(string Summary, JsonTypeInfo? Request = null, JsonTypeInfo? Answer = null, int Status = StatusCodes.Status200OK)
{
    /// <summary>Another status of an answer when all is well.</summary>
    public int? OrStatus { get; init; }

    /// <summary>The names of its query parameters, of those in <see cref="QueryParameters"/>.</summary>
    public IReadOnlyList<string> Query { get; init; } = [];

    /// <summary>The media types of a body that is no JSON of ours.</summary>
    public IReadOnlyList<string> RawRequest { get; init; } = [];

    /// <summary>The media type of an answer that is no JSON of ours.</summary>
    public string? RawAnswer { get; init; }
}

internal static class RouteRulesExtensions
{
    /// <summary>Declares the rules of a route, see <see cref="Gate"/>, and what it does.</summary>
    public static void Under(this RouteHandlerBuilder route, RouteRules rules, RouteDoc doc) => route.WithMetadata(rules, doc);
}
