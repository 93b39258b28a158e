using Keylime.Protocol.Api;

namespace Keylime.Tenant.Entra;

/// <summary>How tokens of Entra ID are got.</summary>
internal enum EntraWay
{
    /// <summary>A person signed in in a browser; from then on by refresh tokens.</summary>
    DeviceCode,

    /// <summary>The machine's own identity on Azure; nothing of it is kept but the token.</summary>
    ManagedIdentity,

    /// <summary>A token of another issuer, from a file that somebody else renews (workload identity federation).</summary>
    Workload,
}

/// <summary>A login at Entra ID: how it is renewed, and what opens the service until then.</summary>
/// <param name="At">For a managed identity the client id is that of the identity, or empty for the machine's own.</param>
internal sealed record EntraLogin(EntraWay Way, EntraSignIn At)
{
    // A token that ends while it is on its way would be refused.
    private static readonly TimeSpan Ahead = TimeSpan.FromMinutes(2);

    public string AccessToken { get; init; } = "";

    public string? RefreshToken { get; init; }

    public DateTimeOffset ExpiresAt { get; init; }

    public bool HoldsAt(DateTimeOffset now) => AccessToken.Length > 0 && ExpiresAt - Ahead > now;
}
