using Azure.Core;
using Azure.Core.Pipeline;

namespace Keylime.Functions.Keys.Azure;

/// <summary>
/// How Key Vault wants to be asked: the first request goes without a token and without its body, the 401 says whose tokens are taken, and what it says must be of the vault's own domain, or a
/// stranger under the vault's name could ask for tokens of something else.
/// </summary>
internal sealed class KeyVaultAuthentication(TokenCredential credential) : BearerTokenAuthenticationPolicy(credential, [])
{
    private volatile string[]? _scopes;

    protected override ValueTask AuthorizeRequestAsync(HttpMessage message)
    {
        if (_scopes is { } known)
            return AuthenticateAndAuthorizeRequestAsync(message, new TokenRequestContext(known));
        message.SetProperty(nameof(KeyVaultAuthentication), message.Request.Content!);
        message.Request.Content = null;
        return default;
    }

    protected override void AuthorizeRequest(HttpMessage message) => throw new NotSupportedException("Nobody waits for a vault without giving up the thread.");

    protected override async ValueTask<bool> AuthorizeRequestOnChallengeAsync(HttpMessage message)
    {
        if (message.Request.Content is null && message.TryGetProperty(nameof(KeyVaultAuthentication), out var body))
            message.Request.Content = body as RequestContent;
        if (!TryReadScope(message, out var scope))
            return false;
        _scopes = [scope];
        await AuthenticateAndAuthorizeRequestAsync(message, new TokenRequestContext(_scopes));
        return true;
    }

    private static bool TryReadScope(HttpMessage message, out string scope)
    {
        scope = "";
        if (!message.Response.Headers.TryGetValue("WWW-Authenticate", out var challenge) || !challenge.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase))
            return false;
        var named = Member(challenge, "scope") ?? (Member(challenge, "resource") is { } resource ? resource + "/.default" : null);
        if (named is null || !Uri.TryCreate(named, UriKind.Absolute, out var url) || url.Scheme != Uri.UriSchemeHttps)
            return false;
        if (!message.Request.Uri.Host!.EndsWith("." + url.Host, StringComparison.OrdinalIgnoreCase))
            throw new VaultUnavailableException($"The vault wants tokens for '{url.Host}', which is no domain that '{message.Request.Uri.Host}' is of: none is given to it.");
        scope = named;
        return true;
    }

    // Bearer authorization="https://login.microsoftonline.com/TENANT", resource="https://vault.azure.net"
    private static string? Member(string challenge, string name)
    {
        foreach (var part in challenge["Bearer ".Length..].Split([',', ' '], StringSplitOptions.RemoveEmptyEntries))
        {
            if (part.Split('=', 2) is [var key, var value] && key.Equals(name, StringComparison.OrdinalIgnoreCase))
                return value.Trim('"');
        }

        return null;
    }
}
