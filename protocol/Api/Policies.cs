using System.Text.Json.Serialization;

namespace Keylime.Protocol.Api;

/// <summary>What a policy judges.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<PolicyKind>))]
public enum PolicyKind
{
    /// <summary>What may run: the measurement list.</summary>
    [JsonStringEnumMemberName("runtime")] Runtime,

    /// <summary>What may boot: the firmware's event log.</summary>
    [JsonStringEnumMemberName("boot")] Boot,
}

/// <summary>A stored policy: its texts are immutable versions, each named by its digest; its name points to the one in force.</summary>
public sealed record PolicySummary
{
    public required string Name { get; init; }

    public required PolicyKind Kind { get; init; }

    /// <summary>The group of nodes whose operators may change it; left out for one that all share.</summary>
    public string? Group { get; init; }

    /// <summary>SHA-256 of the text in force, in hex; left out where none is in force yet.</summary>
    public string? Digest { get; init; }

    /// <summary>Of the text, in bytes.</summary>
    public required long Size { get; init; }

    /// <summary>Paths with digests.</summary>
    public required int Paths { get; init; }

    public required int Excludes { get; init; }

    public required DateTimeOffset UpdatedAt { get; init; }

    /// <summary>What the text asks for and this version does not do, or does and is unwise: never silently ignored.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }

    /// <summary>The names of the signers whose signatures verified.</summary>
    public required IReadOnlyList<string> Signers { get; init; }

    /// <summary>SHA-256 of a text that waits for approval.</summary>
    public string? ProposedDigest { get; init; }

    /// <summary>Who put what waits for approval.</summary>
    public string? ProposedBy { get; init; }
}

public sealed record PolicyList(IReadOnlyList<PolicySummary> Policies)
{
    public string? Next { get; init; }
}

/// <summary>One text that was, or is, in force under a name.</summary>
/// <param name="PutBy">Whose token put it.</param>
/// <param name="Signers">The signers whose signatures verified when it was put.</param>
public sealed record PolicyVersion(string Digest, DateTimeOffset PutAt, string PutBy, IReadOnlyList<string> Signers)
{
    /// <summary>Whose token approved it, where approval is asked for.</summary>
    public string? ApprovedBy { get; init; }

    /// <summary>When it came into force.</summary>
    public DateTimeOffset InForceAt { get; init; }
}

/// <summary><c>GET /v1/policies/{name}/versions</c>: newest first.</summary>
public sealed record PolicyVersionList(IReadOnlyList<PolicyVersion> Versions);

/// <summary><c>POST /v1/policies/{name}/approve</c>.</summary>
/// <param name="Digest">Of the text that is approved: another one is refused.</param>
public sealed record ApprovePolicy(string Digest);

/// <summary>Somebody whose signatures make policies valid.</summary>
/// <param name="Kind"><c>key</c>, or <c>certificate</c>: an authority whose certificates sign.</param>
/// <param name="Fingerprint">SHA-256 of the SubjectPublicKeyInfo, or of the certificate, in hex.</param>
public sealed record PolicySigner(string Name, string Kind, string Fingerprint, DateTimeOffset AddedAt, string AddedBy);

public sealed record PolicySignerList(IReadOnlyList<PolicySigner> Signers);

/// <summary>A text that is no policy yet, to be tried: <c>POST /v1/policy-drafts</c>.</summary>
public sealed record PolicyDraft(string Digest, PolicyKind Kind, IReadOnlyList<string> Warnings);

/// <summary>What a draft would make of a node's stored evidence.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<TrialOutcome>))]
public enum TrialOutcome
{
    [JsonStringEnumMemberName("pass")] Pass,

    [JsonStringEnumMemberName("fail")] Fail,

    /// <summary>There is nothing stored that it could judge, which says nothing for the node.</summary>
    [JsonStringEnumMemberName("no-evidence")] NoEvidence,
}

public sealed record PolicyTrial(AgentId Node, TrialOutcome Outcome, IReadOnlyList<FindingMessage> Findings, int FindingCount)
{
    /// <summary>Whose evidence was judged; none where there was nothing to judge.</summary>
    public long? Attestation { get; init; }
}

/// <summary><c>GET /v1/policy-drafts/{digest}/trials</c>: a page of nodes, each with what the draft would make of it.</summary>
public sealed record PolicyTrialList(IReadOnlyList<PolicyTrial> Trials)
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
