using Keylime.Protocol.Api;

namespace Keylime.Functions.Storage;

/// <summary>A token for people and programs that administer, approve or read: its hash, so that a copy of the table opens nothing.</summary>
internal sealed record AccessToken
{
    public const int CurrentSchema = 2;

    public int Schema { get; init; } = CurrentSchema;

    public required string Name { get; init; }

    public required AccessRole Role { get; init; }

    /// <summary>The one group of nodes that the role is for. Rows of schema 1 have none; and a program that reads these alone takes no row of schema 2, whose group it would not see.</summary>
    public string? Group { get; init; }

    /// <summary>SHA-256 of the token; 256 random bits need no slow hash.</summary>
    public required ReadOnlyMemory<byte> Hash { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>When it stops to open anything; the first tokens of an embedded service do not expire.</summary>
    public DateTimeOffset? ExpiresAt { get; init; }
}
