using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Security.Cryptography;

namespace Keylime.Functions.Hosting;

/// <summary>Every setting that there is. Who adds one adds it here, and nowhere else.</summary>
internal static class SettingsTable
{
    private const int MostSeconds = 86_400;
    private const int MostDays = 36_500;
    private const int MostEvidenceMegabytes = 4096;
    private const int LeastMegabytes = 16;
    private const int MostMegabytes = 1_000_000;
    private const int LongestKeyName = 127; // of Key Vault
    private const string Days = "a whole number of days from 1 to 36500 with d behind it, as in 365d";
    private const string Guid36 = "a GUID, as 00000000-0000-0000-0000-000000000000";
    private const string KeyName = "the name of a key: 1 to 127 of A-Z a-z 0-9 -";

    public static IReadOnlyList<Setting> All { get; } =
    [
        new("data", "DIR", "a directory", "where everything is kept (default /var/lib/keylime-service)", static (o, v) => v.Length > 0 ? o with { Data = Path.GetFullPath(v) } : null),
        new("listen", "URL", "https://ADDRESS:PORT, with an address or localhost and no path", "where it answers (default https://127.0.0.1:8881; port 0 takes a free one)",
            static (o, v) => IsAddress(v, "https", out var url) ? o with { Listen = url } : null),
        new("registrar-http", "URL", "http://ADDRESS:PORT, with an address or localhost and no path", "plain HTTP for the registrar's public routes only (off unless given)",
            static (o, v) => IsAddress(v, "http", out var url) ? o with { RegistrarHttp = url } : null),
        new("interval", "SECONDS", "a whole number of seconds from 1 to 86400", "from one attestation to the next, for nodes that say nothing else (default 60)",
            static (o, v) => Number(v, MostSeconds) is { } seconds ? o with { Interval = TimeSpan.FromSeconds(seconds) } : null),
        new("evidence-memory", "MB", "a whole number of megabytes from 1 to 4096", "of evidence that is taken in at a time; judging takes about four times as much memory. As much may wait, and the rest is told when to come again (default 64)",
            static (o, v) => Number(v, MostEvidenceMegabytes) is { } megabytes ? o with { EvidenceMemory = megabytes } : null),
        Setting.Several("san", "NAME", "a host's name or address", "another name for the server's certificate",
            static v => Uri.CheckHostName(v) != UriHostNameType.Unknown, static (o, all) => o with { Names = [.. o.Names, .. all] }),
        new("tls-certificate", "FILE", "a file that can be read, PEM", "the server's certificate, and its issuers' behind it, of an authority of yours (default: the service makes one); read again when it changes",
            static (o, v) => File.Exists(v) ? o with { TlsCertificate = Path.GetFullPath(v) } : null) { Needs = "tls-key" },
        new("tls-key", "FILE", "a file that can be read, PEM", "its key", static (o, v) => File.Exists(v) ? o with { TlsKey = Path.GetFullPath(v) } : null) { Needs = "tls-certificate" },
        Setting.Several("accept-identity", "KIND", "ek-certificate, iak-certificate, ek-list or ek-key",
            "how well a TPM must be known (default: the two with a certificate; the others are weaker, verdicts say so, and they come on top of the better ones)",
            static v => IdentityNames.TryParse(v, out _), static (o, all) => o with { AcceptedIdentities = [.. o.AcceptedIdentities, .. all.Select(IdentityNames.Parse)] }),
        Setting.YesNo("fetch-issuers", "get missing issuers' certificates from where endorsement certificates say they are", static (o, yes) => o with { FetchIssuers = yes }),
        Setting.YesNo("require-signed-policies", "take and use policies only with the signature of a trusted signer (DSSE)", static (o, yes) => o with { RequireSignedPolicies = yes }),
        Setting.YesNo("require-policy-approval", "a policy that is put judges nobody until somebody else approves it", static (o, yes) => o with { RequirePolicyApproval = yes }),
        new("policy-memory", "MB", "a whole number of MB from 16 to 1000000", "policies that stay ready to judge with; those used longest ago go first (default 1024)",
            static (o, v) => Number(v, MostMegabytes) is >= LeastMegabytes and var megabytes ? o with { PolicyMemory = megabytes * 1024L * 1024 } : null),
        new("keep-verdicts", "Nd", Days, "delete verdicts after so many days, but never the last pass and the last fail of a node (default: for ever)",
            static (o, v) => DaysOf(v) is { } days ? o with { KeepVerdicts = days } : null),
        new("keep-events", "Nd", Days, "delete events after so many days (default: for ever)", static (o, v) => DaysOf(v) is { } days ? o with { KeepEvents = days } : null),
        Setting.Several("azure-account", "NAME", "the name of a storage account, or its table endpoint", "a storage account, with the process's own identity. Without one everything is in SQLite",
            static v => Storage.Azure.AzureAccounts.IsName(v), static (o, all) => o with { AzureAccounts = [.. o.AzureAccounts, .. all] }),
        new("azure-connections", "FILE", "a file that can be read, with a connection string a line", "a file with a connection string a line, as the emulator has one",
            static (o, v) => File.Exists(v) ? o with { AzureConnections = Path.GetFullPath(v) } : null),
        new("key-vault", "URL", "https://NAME.vault.azure.net, without a path", "Azure Key Vault, for the keys that wrap and sign; without it they are files",
            static (o, v) => Uri.TryCreate(v, UriKind.Absolute, out var url) && url is { Scheme: "https", AbsolutePath: "/", Query: "", UserInfo: "" } ? o with { KeyVault = url } : null),
        new("wrap-key", "NAME", KeyName, "of the RSA key in it that wraps keys of payloads (default keylime-wrap)", static (o, v) => IsKeyName(v) ? o with { WrapKey = v } : null) { Needs = "key-vault" },
        new("sign-key", "NAME", KeyName, "of the P-256 key in it that signs what nodes are told (default keylime-sign)", static (o, v) => IsKeyName(v) ? o with { SignKey = v } : null) { Needs = "key-vault" },
        new("operator-token", "NAME:SHA256", "NAME:SHA256, with 64 hex digits, as 'keylime token prepare' prints it",
            "the first operator's token, by its name and hash; then no token is made here and kept in a file, as is right where the data directory does not last",
            static (o, v) => PreparedToken(v) is { } token ? o with { OperatorToken = token } : null),
        new("entra-tenant", "GUID", Guid36, "the directory of Microsoft Entra ID whose users and programs may sign in, by the roles that they have there",
            static (o, v) => IsGuid(v) ? o with { EntraTenant = v.ToLowerInvariant() } : null),
        Setting.Several("entra-audience", "ID", "the client id of the service's application, or its URI", "what tokens of Entra ID must be made for: the service's application, by its client id or its URI",
            static v => IsGuid(v) || Uri.TryCreate(v, UriKind.Absolute, out _), static (o, all) => o with { EntraAudiences = [.. o.EntraAudiences, .. all] }) with { Needs = "entra-tenant" },
        new("entra-authority", "URL", "https://HOST, without a path", "where Entra ID is (default https://login.microsoftonline.com; sovereign clouds have others)",
            static (o, v) => Uri.TryCreate(v, UriKind.Absolute, out var url) && url is { Scheme: "https", AbsolutePath: "/", Query: "", UserInfo: "" } ? o with { EntraAuthority = url } : null) { Needs = "entra-tenant" },
        new("entra-client", "GUID", Guid36, "the application that 'keylime login --entra' signs in with (default: the first --entra-audience that is a client id)",
            static (o, v) => IsGuid(v) ? o with { EntraClient = v.ToLowerInvariant() } : null) { Needs = "entra-tenant" },
        Setting.Several("allow-outbound", "HOST:PORT", "HOST:PORT", "where outgoing requests may go, though it is not public or not HTTPS",
            static v => v.LastIndexOf(':') > 0, static (o, all) => o with { AllowedOutbound = [.. o.AllowedOutbound, .. all] }),
        new("trace-ratio", "NUMBER", "a number from 0 to 1, as in 0.05", "how many of all requests are traced, where traces are sent at all (default 0.05; docs/telemetry.md)",
            static (o, v) => double.TryParse(v, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var ratio) && ratio <= 1 ? o with { TraceRatio = ratio } : null),
    ];

    private static (string Name, byte[] Hash)? PreparedToken(string value) =>
        value.Split(':') is [var name, { Length: 2 * SHA256.HashSizeInBytes } hex] && Protocol.AgentId.TryParse(name, null, out _) && !Access.JwtForm.IsLike(name) && hex.All(char.IsAsciiHexDigit)
            ? (name, Convert.FromHexString(hex))
            : null;

    private static bool IsGuid(string value) => Guid.TryParseExact(value, "D", out _);

    private static bool IsKeyName(string value) => value.Length is > 0 and <= LongestKeyName && value.All(static c => char.IsAsciiLetterOrDigit(c) || c == '-');

    private static TimeSpan? DaysOf(string value) => value is [.. var digits, 'd'] && Number(digits, MostDays) is { } days ? TimeSpan.FromDays(days) : null;

    private static int? Number(string value, int most) => int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= 1 && number <= most ? number : null;

    private static bool IsAddress(string value, string scheme, [NotNullWhen(true)] out Uri? url) =>
        Uri.TryCreate(value, UriKind.Absolute, out url) && url.Scheme == scheme && url.AbsolutePath == "/"
        && (url.Host == "localhost" || System.Net.IPAddress.TryParse(url.Host.Trim('[', ']'), out _));
}
