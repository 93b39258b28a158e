using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Keylime.Attestation;

namespace Keylime.Functions.Hosting;

/// <summary>What the one who starts the service decides: on the command line, or in <c>KEYLIME_SERVICE_…</c>.</summary>
internal sealed record ServiceOptions
{
    public const string Usage = """
        Keylime.Functions: Keylime's registrar and verifier.

          --data DIR             where everything is kept (default /var/lib/keylime-service)
          --listen URL           https://ADDRESS:PORT (default https://127.0.0.1:8881; port 0 takes a free one)
          --registrar-http URL   http://ADDRESS:PORT for the registrar's public routes only (off unless given)
          --interval SECONDS     from one attestation to the next, for nodes that say nothing else (default 60)
          --san NAME             another name for the server's certificate; may be repeated
          --accept-identity KIND ek-certificate, iak-certificate, ek-list or ek-key; may be repeated (default: the two with a certificate;
                                 the others are weaker, verdicts say so, and they come on top of the better ones)
          --fetch-issuers yes    get missing issuers' certificates from where endorsement certificates say they are (default no)
          --require-signed-policies yes   take and use policies only with the signature of a trusted signer (DSSE; default no)
          --require-policy-approval yes   a policy that is put judges nobody until somebody else approves it (default no)
          --keep-verdicts Nd     delete verdicts after so many days, but never the last pass and the last fail of a node (default: for ever)
          --keep-events Nd       delete events after so many days (default: for ever)
          --azure-account NAME   a storage account, or its table endpoint; may be repeated. Without one everything is in SQLite
          --azure-connections F  a file with a connection string a line, as the emulator has one
          --key-vault URL        Azure Key Vault, https://NAME.vault.azure.net, for the keys that wrap and sign; without it they are files
          --wrap-key NAME        of the RSA key in it that wraps keys of payloads (default keylime-wrap)
          --sign-key NAME        of the P-256 key in it that signs what nodes are told (default keylime-sign)
          --operator-token N:H   the first operator's token, by its name and the SHA-256 of it in hex ('keylime token prepare' makes both); then
                                 no token is made here and kept in a file, as is right where the data directory does not last
          --allow-outbound H:P   a host and port that outgoing requests may go to, though not public or not HTTPS; may be repeated

        Each may be set in the environment: KEYLIME_SERVICE_DATA, KEYLIME_SERVICE_LISTEN … (what may be repeated, separated by commas).
        """;

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

    /// <summary>Reads the environment, and the command line over it.</summary>
    public static bool TryParse(
        IReadOnlyList<string> args, Func<string, string?> environment, [NotNullWhen(true)] out ServiceOptions? options, [NotNullWhen(false)] out string? error)
    {
        options = null;
        var read = new ServiceOptions();
        foreach (var name in (string[])["data", "listen", "registrar-http", "interval", "san", "accept-identity", "fetch-issuers", "require-signed-policies", "require-policy-approval", "keep-verdicts", "keep-events", "azure-account", "azure-connections", "key-vault", "wrap-key", "sign-key", "operator-token", "allow-outbound"])
        {
            var variable = "KEYLIME_SERVICE_" + name.Replace('-', '_').ToUpperInvariant();
            if (environment(variable) is { Length: > 0 } value && !read.TrySet(name, value, out read, out error))
                return false;
        }

        for (var i = 0; i < args.Count; i++)
        {
            var (name, value) = args[i].Split('=', 2) switch
            {
                [var n, var v] => (n, v),
                [var n] when i + 1 < args.Count => (n, args[++i]),
                [var n] => (n, (string?)null),
                _ => throw new System.Diagnostics.UnreachableException(),
            };
            if (!name.StartsWith("--", StringComparison.Ordinal) || value is null)
            {
                error = $"'{name}' is no option with a value.";
                return false;
            }

            if (!read.TrySet(name[2..], value, out read, out error))
                return false;
        }

        error = null;
        options = int.TryParse(environment("FUNCTIONS_CUSTOMHANDLER_PORT"), NumberStyles.None, CultureInfo.InvariantCulture, out var port)
            ? read with { HandlerPort = port }
            : read;
        return true;
    }

    private bool TrySet(string name, string value, out ServiceOptions next, [NotNullWhen(false)] out string? error)
    {
        var set = name switch
        {
            "data" => this with { Data = Path.GetFullPath(value) },
            "listen" when IsAddress(value, "https", out var url) => this with { Listen = url },
            "registrar-http" when IsAddress(value, "http", out var url) => this with { RegistrarHttp = url },
            "interval" when int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds) && seconds is >= 1 and <= 86_400 =>
                this with { Interval = TimeSpan.FromSeconds(seconds) },
            "san" => this with { Names = [.. Names, .. Several(value)] },
            "accept-identity" when Several(value).All(static v => IdentityNames.TryParse(v, out _)) =>
                this with { AcceptedIdentities = [.. AcceptedIdentities, .. Several(value).Select(IdentityNames.Parse)] },
            "fetch-issuers" when value is "yes" or "no" => this with { FetchIssuers = value == "yes" },
            "require-signed-policies" when value is "yes" or "no" => this with { RequireSignedPolicies = value == "yes" },
            "require-policy-approval" when value is "yes" or "no" => this with { RequirePolicyApproval = value == "yes" },
            "keep-verdicts" when IsDays(value, out var days) => this with { KeepVerdicts = days },
            "keep-events" when IsDays(value, out var days) => this with { KeepEvents = days },
            "azure-account" => this with { AzureAccounts = [.. AzureAccounts, .. Several(value)] },
            "azure-connections" => this with { AzureConnections = Path.GetFullPath(value) },
            "key-vault" when Uri.TryCreate(value, UriKind.Absolute, out var url) && url is { Scheme: "https", AbsolutePath: "/", Query: "", UserInfo: "" } => this with { KeyVault = url },
            "wrap-key" when IsKeyName(value) => this with { WrapKey = value },
            "sign-key" when IsKeyName(value) => this with { SignKey = value },
            "operator-token" when IsPreparedToken(value, out var token) => this with { OperatorToken = token },
            "allow-outbound" when Several(value).All(static v => v.LastIndexOf(':') > 0) => this with { AllowedOutbound = [.. AllowedOutbound, .. Several(value)] },
            _ => null,
        };
        next = set ?? this;
        error = set is null ? $"--{name} {value}: no such option, or no such value." : null;
        return set is not null;
    }

    private static bool IsPreparedToken(string value, out (string Name, byte[] Hash) token)
    {
        token = default;
        if (value.Split(':') is not [var name, { Length: 2 * System.Security.Cryptography.SHA256.HashSizeInBytes } hex] || !Protocol.AgentId.TryParse(name, null, out _) || !hex.All(char.IsAsciiHexDigit))
            return false;
        token = (name, Convert.FromHexString(hex));
        return true;
    }

    // What Key Vault takes.
    private static bool IsKeyName(string value) => value.Length is > 0 and <= 127 && value.All(static c => char.IsAsciiLetterOrDigit(c) || c == '-');

    private static bool IsDays(string value, out TimeSpan days)
    {
        var good = value is [.. var digits, 'd'] && int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var count) && count is >= 1 and <= 36_500;
        days = good ? TimeSpan.FromDays(int.Parse(value[..^1], NumberStyles.None, CultureInfo.InvariantCulture)) : default;
        return good;
    }

    private static string[] Several(string value) => value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

    private static bool IsAddress(string value, string scheme, [NotNullWhen(true)] out Uri? url) =>
        Uri.TryCreate(value, UriKind.Absolute, out url) && url.Scheme == scheme && url.AbsolutePath == "/"
        && (url.Host == "localhost" || System.Net.IPAddress.TryParse(url.Host.Trim('[', ']'), out _));
}
