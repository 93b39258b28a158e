namespace Keylime.Functions.Storage;

/// <summary>A policy's name, and the digest of the text that it points to.</summary>
internal sealed record PolicyRecord
{
    public const int CurrentSchema = 1;

    public int Schema { get; init; } = CurrentSchema;

    public required string Name { get; init; }

    /// <summary>SHA-256 of the text, in hex: its name among the blobs.</summary>
    public required string Digest { get; init; }

    public required long Size { get; init; }

    public required int Paths { get; init; }

    public required int Excludes { get; init; }

    public required IReadOnlyList<string> Warnings { get; init; }

    public required DateTimeOffset UpdatedAt { get; init; }
}
