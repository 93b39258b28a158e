using Keylime.Protocol.Api;

namespace Keylime.Functions.Storage;

/// <summary>A policy's name, and the digest of the text that it points to.</summary>
internal sealed record PolicyRecord
{
    public const int CurrentSchema = 3;

    /// <summary>How many versions a row remembers; the texts of older ones stay, and so do the verdicts that name them.</summary>
    public const int MaxVersions = 64;

    public int Schema { get; init; } = CurrentSchema;

    public required string Name { get; init; }

    public PolicyKind Kind { get; init; } = PolicyKind.Runtime;

    /// <summary>The group of nodes whose operators may change it; <see langword="null"/> for one that all share, as rows before schema 3 are.</summary>
    public string? Group { get; init; }

    /// <summary>SHA-256 of the text in force, in hex: its name among the blobs. Null where none was approved yet.</summary>
    public required string? Digest { get; init; }

    public required long Size { get; init; }

    public required int Paths { get; init; }

    public required int Excludes { get; init; }

    public required IReadOnlyList<string> Warnings { get; init; }

    public required DateTimeOffset UpdatedAt { get; init; }

    /// <summary>The texts that came into force, newest first. Rows of schema 1 did not remember them.</summary>
    public IReadOnlyList<PolicyVersion> Versions { get; init => field = value ?? []; } = []; // the reader sets what a row lacks to null

    /// <summary>A text that waits for approval.</summary>
    public ProposedPolicy? Proposed { get; init; }

    /// <summary>The policy with a text in force that waited, or that nobody has to approve.</summary>
    public PolicyRecord InForce(ProposedPolicy text, string? approvedBy, DateTimeOffset now) => this with
    {
        Schema = CurrentSchema,
        Digest = text.Digest,
        Size = text.Size,
        Paths = text.Paths,
        Excludes = text.Excludes,
        Warnings = text.Warnings,
        UpdatedAt = now,
        Proposed = null,
        Versions = [new PolicyVersion(text.Digest, text.PutAt, text.PutBy, text.Signers) { ApprovedBy = approvedBy, InForceAt = now }, .. Versions.Take(MaxVersions - 1)],
    };
}

/// <summary>A policy's text that somebody put, and somebody else has to approve.</summary>
internal sealed record ProposedPolicy(
    string Digest, long Size, int Paths, int Excludes, IReadOnlyList<string> Warnings, DateTimeOffset PutAt, string PutBy, IReadOnlyList<string> Signers);
