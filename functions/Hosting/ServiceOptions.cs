using Keylime.Attestation;
using Keylime.Functions.Telemetry;

namespace Keylime.Functions.Hosting;

/// <summary>What the one who starts the service decides. <see cref="Settings"/> reads it.</summary>
internal sealed record ServiceOptions
{
    public string Data { get; init; } = "/var/lib/keylime-service";

    public Uri Listen { get; init; } = new("https://127.0.0.1:8881");

    public Uri? RegistrarHttp { get; init; }

    public TimeSpan Interval { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Megabytes (of 1,048,576 bytes) of evidence that are taken in at a time.</summary>
    public int EvidenceMemory { get; init; } = 64;

    public IReadOnlyList<string> Names { get; init; } = [];

    /// <summary>The path of the server's certificate, PEM, of another authority than the service's own; <see langword="null"/> for that.</summary>
    public string? TlsCertificate { get; init; }

    /// <summary>The path of its key.</summary>
    public string? TlsKey { get; init; }

    /// <summary>How well a TPM must be known for its registration to be taken.</summary>
    public IReadOnlyList<IdentityLevel> AcceptedIdentities { get; init; } = [];

    public static IReadOnlyList<IdentityLevel> DefaultIdentities { get; } = [IdentityLevel.EndorsementCertificate, IdentityLevel.InitialAttestationKey];

    public bool FetchIssuers { get; init; }

    public bool RequireSignedPolicies { get; init; }

    public bool RequirePolicyApproval { get; init; }

    /// <summary>Bytes of policies that stay ready to judge with. The one used last stays, whatever its size.</summary>
    public long PolicyMemory { get; init; } = 1024L * 1024 * 1024;

    /// <summary>How long verdicts are kept; <see langword="null"/> for ever.</summary>
    public TimeSpan? KeepVerdicts { get; init; }

    /// <summary>How long events are kept; <see langword="null"/> for ever.</summary>
    public TimeSpan? KeepEvents { get; init; }

    /// <summary>Names or table endpoints.</summary>
    public IReadOnlyList<string> AzureAccounts { get; init; } = [];

    /// <summary>The path of a file of connection strings.</summary>
    public string? AzureConnections { get; init; }

    /// <summary>Of Azure Key Vault; <see langword="null"/> for keys in files.</summary>
    public Uri? KeyVault { get; init; }

    public string WrapKey { get; init; } = "keylime-wrap";

    public string SignKey { get; init; } = "keylime-sign";

    /// <summary>The first operator's token: its name, and the SHA-256 of the whole.</summary>
    public (string Name, byte[] Hash)? OperatorToken { get; init; }

    /// <summary>The directory of Microsoft Entra ID whose tokens are taken; <see langword="null"/> where none is.</summary>
    public string? EntraTenant { get; init; }

    /// <summary>What the <c>aud</c> of its tokens may be: the service's own application, by its client id or its URI.</summary>
    public IReadOnlyList<string> EntraAudiences { get; init; } = [];

    public Uri EntraAuthority { get; init; } = new("https://login.microsoftonline.com");

    /// <summary>The application that people sign in with, where it is another one than the service's own.</summary>
    public string? EntraClient { get; init; }

    public bool UsesAzure => AzureAccounts.Count > 0 || AzureConnections is not null;

    /// <summary>Whether the Functions host hands out what is in the queues.</summary>
    public bool HostHandsOutWork => HandlerPort is not null && UsesAzure;

    /// <summary>Whether several instances agree by a lease who runs the timers; under the Functions host that is the host's business.</summary>
    public bool LeadsByLease => HandlerPort is null && UsesAzure;

    /// <summary>As <c>host:port</c>.</summary>
    public IReadOnlyList<string> AllowedOutbound { get; init; } = [];

    /// <summary>Those of the accepted identities that nobody's certificate vouches for.</summary>
    public IEnumerable<IdentityLevel> WeakIdentities => AcceptedIdentities.Where(static level => level < IdentityLevel.EndorsementCertificate).Distinct();

    /// <summary>Whether a TPM that is known so well is taken. Who takes a weak identity takes every better one: nobody is refused for being known better.</summary>
    public bool Accepts(IdentityLevel level) =>
        (AcceptedIdentities.Count > 0 ? AcceptedIdentities : DefaultIdentities).Contains(level) || WeakIdentities.Any(weak => weak < level);

    /// <summary>One trace in so many is kept: from 0, which is none, to 1, which is all.</summary>
    public double TraceRatio { get; init; } = 0.05;

    /// <summary>Where telemetry goes.</summary>
    public TelemetryVariables Telemetry { get; init; } = TelemetryVariables.None;

    /// <summary>The port that the Functions host will call, where it started us: plain HTTP on the loopback.</summary>
    public int? HandlerPort { get; init; }
}
