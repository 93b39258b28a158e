using System.Collections.Frozen;
using System.Security.Cryptography;
using System.Text.Json;
using Keylime.Functions.Hosting;
using Microsoft.IdentityModel.Protocols;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

namespace Keylime.Functions.Access;

/// <summary>
/// The keys that one directory's tokens are signed with, from its discovery document (OpenID Connect Discovery 1.0, 4). They are read anew once an hour, and when a token names one that is not known;
/// but not oftener than once a minute, whoever asks for whatever. While the issuer does not answer the last ones are used, for a day.
/// </summary>
internal sealed partial class EntraKeys(EntraIssuer issuer, IDocumentRetriever documents, TimeProvider clock, ILogger<EntraKeys> log) : IDisposable
{
    private const int MaxKeys = 100;
    private const int MinRsaBits = 2048;

    /// <summary>How often they are read at most: a stranger can name any key.</summary>
    public static readonly TimeSpan Pause = TimeSpan.FromMinutes(1);

    /// <summary>A key that the issuer has withdrawn opens nothing after this.</summary>
    public static readonly TimeSpan Fresh = TimeSpan.FromHours(1);

    /// <summary>How long they are used while the issuer does not answer.</summary>
    public static readonly TimeSpan Usable = TimeSpan.FromDays(1);

    private readonly SemaphoreSlim _reading = new(1);
    private volatile Known? _known;
    private long? _lastTry;

    /// <returns>The key of that id; <see langword="null"/> where the issuer has none of it.</returns>
    /// <exception cref="IOException">The keys are not to be had.</exception>
    public async Task<SecurityKey?> FindAsync(string id, CancellationToken cancel)
    {
        var known = _known;
        if (known is not null && Age(known) < Fresh && known.Keys.TryGetValue(id, out var key))
            return key;

        // Whoever needs no new key does not wait for one.
        var patience = known is not null && Age(known) < Usable && known.Keys.ContainsKey(id) ? TimeSpan.Zero : Timeout.InfiniteTimeSpan;
        if (await _reading.WaitAsync(patience, cancel))
        {
            try
            {
                if (ReferenceEquals(known, _known)) // otherwise somebody else has just read them
                    await ReadAsync();
            }
            finally
            {
                _reading.Release();
            }
        }

        known = _known;
        return known is not null && Age(known) < Usable
            ? known.Keys.GetValueOrDefault(id)
            : throw new IOException("The keys of Entra ID are not to be had.");
    }

    public void Dispose() => _reading.Dispose();

    // For everybody who waits, so not on anybody's token of cancellation; each document has its own limit of time.
    private async Task ReadAsync()
    {
        if (_lastTry is { } last && clock.GetElapsedTime(last) < Pause)
            return;
        _lastTry = clock.GetTimestamp();
        try
        {
            var document = OpenIdConnectConfiguration.Create(await documents.GetDocumentAsync(issuer.Discovery, CancellationToken.None));
            if (document.Issuer != issuer.Name)
                throw new IOException($"{issuer.Discovery} is of the issuer '{document.Issuer}', where '{issuer.Name}' was expected.");
            var set = JsonWebKeySet.Create(await documents.GetDocumentAsync(document.JwksUri, CancellationToken.None));
            var keys = set.Keys.Take(MaxKeys).Where(IsIssuers).Select(Convert).OfType<SecurityKey>().DistinctBy(static k => k.KeyId).ToFrozenDictionary(static k => k.KeyId);
            if (keys.Count == 0)
                throw new IOException($"{document.JwksUri} has no key that signs.");
            _known = new Known(keys, clock.GetTimestamp());
        }
        catch (Exception e) when (e is IOException or ArgumentException or InvalidOperationException or JsonException or CryptographicException)
        {
            LogFailed(log, e.Message);
        }
    }

    // Documents that several directories share say of each key whose it is.
    private bool IsIssuers(JsonWebKey key) =>
        !key.AdditionalData.TryGetValue("issuer", out var named) || issuer.Name == named?.ToString()?.Replace("{tenantid}", issuer.Tenant, StringComparison.Ordinal);

    // Public keys alone, of their numbers alone: a key that is no pair, or too small, is left out.
    private static AsymmetricSecurityKey? Convert(JsonWebKey key)
    {
        if (string.IsNullOrEmpty(key.Kid) || key.Use is not (null or "" or "sig"))
            return null;
        switch (key.Kty)
        {
            case "RSA":
                var rsa = RSA.Create(new RSAParameters { Modulus = Base64UrlEncoder.DecodeBytes(key.N), Exponent = Base64UrlEncoder.DecodeBytes(key.E) });
                return rsa.KeySize >= MinRsaBits ? new RsaSecurityKey(rsa) { KeyId = key.Kid } : null;
            case "EC" when key.Crv is "P-256" or "P-384" or "P-521":
                return new ECDsaSecurityKey(ECDsa.Create(new ECParameters
                {
                    Curve = key.Crv switch { "P-256" => ECCurve.NamedCurves.nistP256, "P-384" => ECCurve.NamedCurves.nistP384, _ => ECCurve.NamedCurves.nistP521 },
                    Q = new ECPoint { X = Base64UrlEncoder.DecodeBytes(key.X), Y = Base64UrlEncoder.DecodeBytes(key.Y) },
                }))
                { KeyId = key.Kid };
            default:
                return null;
        }
    }

    private TimeSpan Age(Known known) => clock.GetElapsedTime(known.ReadAt);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The keys of Entra ID cannot be read: {Why}")]
    private static partial void LogFailed(ILogger log, string why);

    private sealed record Known(FrozenDictionary<string, SecurityKey> Keys, long ReadAt);
}

/// <summary>One directory of Entra ID, as its tokens and documents name it.</summary>
/// <param name="Tenant">A GUID, in lower case.</param>
/// <param name="Name">In tokens of version 2.0.</param>
/// <param name="FormerName">In tokens of version 1.0.</param>
/// <param name="Discovery">The address of the discovery document.</param>
internal sealed record EntraIssuer(string Tenant, string Name, string FormerName, string Discovery)
{
    /// <returns><see langword="null"/> where no tokens of Entra ID are taken.</returns>
    public static EntraIssuer? Of(ServiceOptions options)
    {
        if (options.EntraTenant is not { } tenant)
            return null;
        var name = $"{options.EntraAuthority.GetLeftPart(UriPartial.Authority)}/{tenant}/v2.0";

        // The cloud of China has an issuer of its own in version 1.0; the one of the American government has the common one.
        var former = options.EntraAuthority.Host is "login.chinacloudapi.cn" or "login.partner.microsoftonline.cn" ? "sts.chinacloudapi.cn" : "sts.windows.net";
        return new EntraIssuer(tenant, name, $"https://{former}/{tenant}/", name + "/.well-known/openid-configuration");
    }
}
