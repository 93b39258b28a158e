using Keylime.Functions.Keys;

namespace Keylime.Functions.Access;

/// <summary>What a bearer token turned out to be.</summary>
internal abstract record Credential
{
    private Credential()
    {
    }

    public sealed record Good(Grant Grant) : Credential;

    /// <summary>It opens nothing here. It may still be an agent's own.</summary>
    public sealed record Unknown : Credential;

    /// <summary>A token of Entra ID that is not taken.</summary>
    /// <param name="Why">A sentence: which check it did not pass.</param>
    public sealed record Refused(string Why) : Credential;

    /// <summary>A good token of Entra ID, of somebody who has no role here.</summary>
    public sealed record NoRole(string Name) : Credential;

    /// <summary>Nobody can tell: the issuer's keys are not to be had.</summary>
    public sealed record Undecided(string Why) : Credential;
}

/// <summary>Tells whose a bearer token is. What it looks like decides which kind it is, and one kind is never tried as the other.</summary>
internal sealed class Credentials(AccessTokens tokens, EntraTokens entra)
{
    public async Task<Credential> FindAsync(string bearer, CancellationToken cancel)
    {
        if (JwtForm.IsOne(bearer))
            return await entra.CheckAsync(bearer, cancel);
        return await tokens.FindAsync(bearer, cancel) is { } grant ? new Credential.Good(grant) : new Credential.Unknown();
    }
}
