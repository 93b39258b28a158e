namespace Keylime.Protocol.Api;

/// <summary>A stored runtime policy: its text is content-addressed, its name points to the text.</summary>
public sealed record PolicySummary
{
    public required string Name { get; init; }

    /// <summary>SHA-256 of the text, in hex.</summary>
    public required string Digest { get; init; }

    /// <summary>Of the text, in bytes.</summary>
    public required long Size { get; init; }

    /// <summary>Paths with digests.</summary>
    public required int Paths { get; init; }

    public required int Excludes { get; init; }

    public required DateTimeOffset UpdatedAt { get; init; }

    /// <summary>What the text asks for and this version does not do: never silently ignored.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }
}

public sealed record PolicyList(IReadOnlyList<PolicySummary> Policies)
{
    public string? Next { get; init; }
}

/// <summary>Problem details (RFC 9457).</summary>
/// <param name="Type">A stable URI reference: <c>urn:keylime:problem:…</c>.</param>
/// <param name="Detail">What, where, what was expected.</param>
public sealed record Problem(string Type, string Title, int Status, string Detail)
{
    /// <summary>What to do about it.</summary>
    public string? Hint { get; init; }
}
