using Keylime.Attestation;

namespace Keylime.Functions.Hosting;

/// <summary>What the one who starts the service decides. <see cref="Settings"/> reads it.</summary>
internal sealed record ServiceOptions
{
    public string Data { get; init; } = "/var/lib/keylime-service";

    public Uri Listen { get; init; } = new("https://127.0.0.1:8881");

    public Uri? RegistrarHttp { get; init; }

    public TimeSpan Interval { get; init; } = TimeSpan.FromSeconds(60);

    public IReadOnlyList<string> Names { get; init; } = [];

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

    public bool UsesAzure => AzureAccounts.Count > 0 || AzureConnections is not null;

    /// <summary>As <c>host:port</c>.</summary>
    public IReadOnlyList<string> AllowedOutbound { get; init; } = [];

    /// <summary>Those of the accepted identities that nobody's certificate vouches for.</summary>
    public IEnumerable<IdentityLevel> WeakIdentities => AcceptedIdentities.Where(static level => level < IdentityLevel.EndorsementCertificate).Distinct();

    /// <summary>Whether a TPM that is known so well is taken. Who takes a weak identity takes every better one: nobody is refused for being known better.</summary>
    public bool Accepts(IdentityLevel level) =>
        (AcceptedIdentities.Count > 0 ? AcceptedIdentities : DefaultIdentities).Contains(level) || WeakIdentities.Any(weak => weak < level);

    /// <summary>The port that the Functions host will call, where it started us: plain HTTP on the loopback.</summary>
    public int? HandlerPort { get; init; }
}
