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
}

/// <summary>A new token. This is the only time that it is told.</summary>
public sealed record CreatedToken(string Name, AccessRole Role, string Token, DateTimeOffset ExpiresAt);

public sealed record TokenSummary(string Name, AccessRole Role, DateTimeOffset CreatedAt)
{
    /// <summary>Left out where it does not expire.</summary>
    public DateTimeOffset? ExpiresAt { get; init; }
}

public sealed record TokenList(IReadOnlyList<TokenSummary> Tokens);
