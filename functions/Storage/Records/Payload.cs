using Keylime.Protocol;
using Keylime.Protocol.Api;
using Keylime.Protocol.Payloads;

namespace Keylime.Functions.Storage;

/// <summary>A secret for machines: where its ciphertext is, its wrapped key, and who may have it on which terms.</summary>
internal sealed record Payload
{
    public const int CurrentSchema = 1;

    public int Schema { get; init; } = CurrentSchema;

    public required string Name { get; init; }

    /// <summary>Counts up: what was released of one version is not of another.</summary>
    public required long Version { get; init; }

    /// <summary>Of the plain content.</summary>
    public required long Size { get; init; }

    public required IReadOnlyList<PayloadPart> Parts { get; init; }

    public required string KeyVersion { get; init; }

    /// <summary>Empty for one that is revoked: what nobody can unwrap nobody can open.</summary>
    public required ReadOnlyMemory<byte> WrappedKey { get; init; }

    public required PayloadAudience For { get; init; }

    public required PayloadTerms Terms { get; init; }

    public required bool Split { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    public required string CreatedBy { get; init; }

    public DateTimeOffset? RevokedAt { get; init; }

    public string? RevokedBy { get; init; }

    public PayloadMessage Message => new(Name, Version, Size, Parts.Count, For, Terms, KeyVersion, Split, CreatedAt, CreatedBy) { RevokedAt = RevokedAt, RevokedBy = RevokedBy };

    /// <summary>Whether anybody may have it at that moment.</summary>
    public bool IsLive(DateTimeOffset now) => RevokedAt is null && (Terms.ExpiresAt is not { } end || end > now);
}

/// <summary>A part of a payload's key that its sender sealed to one machine.</summary>
internal sealed record PayloadShare
{
    public const int CurrentSchema = 1;

    public int Schema { get; init; } = CurrentSchema;

    public required string Payload { get; init; }

    public required long Version { get; init; }

    public required AgentId Node { get; init; }

    /// <summary>SHA-256 of the SubjectPublicKeyInfo of the endorsement key that it was sealed to.</summary>
    public required string EndorsementKeyHash { get; init; }

    public required SealedKey Sealed { get; init; }

    public string Key => KeyOf(Payload, Version, Node);

    public static string KeyOf(string payload, long version, AgentId node) => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{payload}~{version}~{node}");
}

/// <summary>A decision on a request for a payload: a line of the ledger. A claim is one that there can be only one of.</summary>
internal sealed record Release
{
    public const int CurrentSchema = 1;

    public int Schema { get; init; } = CurrentSchema;

    public required string Payload { get; init; }

    public required long Version { get; init; }

    public required AgentId Node { get; init; }

    /// <summary>Unique for the payload and the node, later ones first.</summary>
    public required string Number { get; init; }

    public required DateTimeOffset At { get; init; }

    public required bool Granted { get; init; }

    public required string Code { get; init; }

    public required string Detail { get; init; }

    public long? Attestation { get; init; }

    /// <summary>SHA-256 of the agent's challenge: who asks again with the same one is the same, and may have lost the answer.</summary>
    public ReadOnlyMemory<byte> ChallengeHash { get; init; }

    public PayloadOutcome? Outcome { get; init; }

    public DateTimeOffset? ReportedAt { get; init; }

    public string? Report { get; init; }

    public string Key => KeyOf(Payload, Number, Node);

    public ReleaseMessage Message => new(At, Payload, Version, Node, Granted, Code, Detail) { Attestation = Attestation, Outcome = Outcome, ReportedAt = ReportedAt, Report = Report };

    public static string KeyOf(string payload, string number, AgentId node) => $"{payload}~{number}~{node}";
}

/// <summary>What was released of a payload that is released once: the first to add it has it.</summary>
internal sealed record PayloadClaim
{
    public const int CurrentSchema = 1;

    public int Schema { get; init; } = CurrentSchema;

    public required Release Release { get; init; }

    public string Key => PayloadShare.KeyOf(Release.Payload, Release.Version, Release.Node);
}
