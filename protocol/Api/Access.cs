using System.Text.Json.Serialization;

namespace Keylime.Protocol.Api;

/// <summary>What a token opens.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<AccessRole>))]
public enum AccessRole
{
    /// <summary>Administers: nodes, policies, rules, trust, tokens; and reads.</summary>
    [JsonStringEnumMemberName("operator")] Operator,

    /// <summary>Admits waiting nodes and new keys of known ones; and reads.</summary>
    [JsonStringEnumMemberName("approver")] Approver,

    /// <summary>Reads, and changes nothing.</summary>
    [JsonStringEnumMemberName("auditor")] Auditor,
}

/// <summary><c>POST /v1/tokens</c>.</summary>
public sealed record CreateToken(string Name, AccessRole Role)
{
    /// <summary>How long it lives, 1 to 3650; 90 if left out.</summary>
    public int? Days { get; init; }

    /// <summary>The group of nodes that the role is for, and for nothing else; the whole service if left out.</summary>
    public string? Group { get; init; }
}

/// <summary>A new token. This is the only time that it is told.</summary>
public sealed record CreatedToken(string Name, AccessRole Role, string Token, DateTimeOffset ExpiresAt)
{
    /// <summary>The group of nodes that the role is for.</summary>
    public string? Group { get; init; }
}

public sealed record TokenSummary(string Name, AccessRole Role, DateTimeOffset CreatedAt)
{
    /// <summary>Left out where it does not expire.</summary>
    public DateTimeOffset? ExpiresAt { get; init; }

    /// <summary>The group of nodes that the role is for; left out where it is for the whole service.</summary>
    public string? Group { get; init; }
}

public sealed record TokenList(IReadOnlyList<TokenSummary> Tokens);

/// <summary><c>GET /v1/sign-in</c>: how people and programs get a token.</summary>
public sealed record SignInMessage
{
    /// <summary>Left out where this service takes no tokens of Microsoft Entra ID.</summary>
    public EntraSignIn? Entra { get; init; }
}

/// <summary>Where Microsoft Entra ID makes tokens for this service, and what to ask there.</summary>
/// <param name="Authority"><c>https://login.microsoftonline.com/</c>, or a sovereign cloud's.</param>
/// <param name="Tenant">A GUID.</param>
/// <param name="ClientId">Of the application that people sign in with.</param>
/// <param name="Scope"><c>…/.default</c> of the service's own application.</param>
public sealed record EntraSignIn(Uri Authority, string Tenant, string ClientId, string Scope);
