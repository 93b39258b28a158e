using Keylime.Functions.Hosting;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Keylime.Functions.Access;

/// <summary>Checks access tokens of Microsoft Entra ID.</summary>
/// <remarks>
/// In order, stopping at the first that fails (RFC 8725 says what goes wrong otherwise):
/// <list type="number">
///   <item>it is a signed JWT, of an asymmetric algorithm, with no header that we do not know and must;</item>
///   <item>the key that it names is one of this directory's, and signed these very bytes;</item>
///   <item>it is of this directory: issuer and <c>tid</c>;</item>
///   <item>it was made for this service: <c>aud</c>;</item>
///   <item>it holds now;</item>
///   <item>it is an access token, of a user by way of an application or of an application, and no ID token;</item>
///   <item>its owner has a role of ours.</item>
/// </list>
/// </remarks>
internal sealed class EntraTokens(ServiceOptions options, TimeProvider clock, EntraKeys? keys = null)
{
    private const int MaxRoles = 200;
    private static readonly TimeSpan Skew = TimeSpan.FromMinutes(2);

    // RFC 7518, 3.1; nothing symmetric, and never "none".
    private static readonly string[] Algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"];

    // What an ID token has, and an access token has not.
    private static readonly string[] OfIdTokens = ["nonce", "at_hash", "c_hash"];

    private readonly JsonWebTokenHandler _handler = new() { MaximumTokenSizeInBytes = Gate.MaxBearer };
    private readonly EntraIssuer? _issuer = EntraIssuer.Of(options);

    public async Task<Credential> CheckAsync(string token, CancellationToken cancel)
    {
        if (_issuer is not { } issuer || keys is null)
            return new Credential.Refused("This service takes no tokens of Entra ID.");
        if (Read(token) is not { } jwt)
            return Refuse("it is no JWT that can be read");
        if (!Algorithms.Contains(jwt.Alg))
            return Refuse("its algorithm is none of the asymmetric ones");
        if (jwt.TryGetHeaderValue<object>("crit", out _)) // RFC 7515, 4.1.11: what must be understood and is not
            return Refuse("its header has 'crit'");
        if (string.IsNullOrEmpty(jwt.Kid))
            return Refuse("it names no key");

        SecurityKey? key;
        try
        {
            key = await keys.FindAsync(jwt.Kid, cancel);
        }
        catch (IOException e)
        {
            return new Credential.Undecided(e.Message);
        }

        if (key is null)
            return Refuse("the key that it names is none of this directory's");
        var result = await _handler.ValidateTokenAsync(jwt, Parameters(issuer, key));
        if (!result.IsValid || result.SecurityToken is not JsonWebToken verified)
            return Refuse(Words(result.Exception));
        return Judge(verified, issuer);
    }

    // Each of the checks is written out: what a library does by default may change with it.
    private TokenValidationParameters Parameters(EntraIssuer issuer, SecurityKey key) => new()
    {
        RequireSignedTokens = true,
        RequireExpirationTime = true,
        RequireAudience = true,
        ValidateIssuer = true,
        ValidateAudience = true,
        ValidateLifetime = true,
        ValidateIssuerSigningKey = true,
        TryAllIssuerSigningKeys = false,
        ValidAlgorithms = Algorithms,
        ValidTypes = ["JWT", "at+jwt"],
        ValidIssuers = [issuer.Name, issuer.FormerName],
        ValidAudiences = options.EntraAudiences,
        IssuerSigningKey = key,
        LifetimeValidator = (from, to, _, _) => Holds(from, to),
    };

    private bool Holds(DateTime? from, DateTime? to)
    {
        var now = clock.GetUtcNow().UtcDateTime;
        return to is { } end && end + Skew > now && (from is not { } start || start - Skew <= now);
    }

    private static Credential Judge(JsonWebToken token, EntraIssuer issuer)
    {
        var version = Text(token, "ver");
        if (version != (token.Issuer == issuer.Name ? "2.0" : "1.0"))
            return Refuse("its version is not its issuer's");
        if (!string.Equals(Text(token, "tid"), issuer.Tenant, StringComparison.OrdinalIgnoreCase))
            return Refuse("it is of another directory");

        // Entra ID names in each access token the application that asked for it, and in no ID token: azp in version 2.0, appid in 1.0.
        var application = Text(token, version == "2.0" ? "azp" : "appid");
        if (!Guid.TryParse(application, out _) || OfIdTokens.Any(name => Text(token, name) is not null))
            return Refuse("it is no access token");
        if (!Guid.TryParse(Text(token, "oid"), out var owner))
            return Refuse("it does not say whose it is");

        // A user's has the scopes that were consented to; an application's own has none, and is its own subject.
        var ofUser = !string.IsNullOrWhiteSpace(Text(token, "scp"));
        if (!ofUser && Text(token, "idtyp") != "app" && Text(token, "sub") != Text(token, "oid"))
            return Refuse("it has no scope, and is no application's own");

        var name = EntraNames.Of(ofUser ? Text(token, "preferred_username") ?? Text(token, "upn") ?? Text(token, "unique_name") : null, application, owner);
        var roles = EntraRoles.Read(token.Claims.Where(static c => c.Type == "roles").Take(MaxRoles).Select(static c => c.Value));
        return roles.Count > 0 ? new Credential.Good(new Grant(name, roles)) : new Credential.NoRole(name);
    }

    private static JsonWebToken? Read(string token)
    {
        try
        {
            return new JsonWebToken(token);
        }
        catch (Exception e) when (e is ArgumentException or SecurityTokenException)
        {
            return null;
        }
    }

    private static string? Text(JsonWebToken token, string name) => token.TryGetPayloadValue<string>(name, out var value) ? value : null;

    private static Credential.Refused Refuse(string why) => new($"The token of Entra ID is not taken: {why}.");

    private static string Words(Exception? problem) => problem switch
    {
        SecurityTokenInvalidIssuerException => "it is of another issuer",
        SecurityTokenInvalidAudienceException => "it was made for another application",
        SecurityTokenInvalidLifetimeException or SecurityTokenNoExpirationException or SecurityTokenExpiredException or SecurityTokenNotYetValidException => "it does not hold now",
        SecurityTokenInvalidTypeException => "it is of another type",
        _ => "its signature is not that of the key that it names",
    };
}
