using System.Diagnostics.CodeAnalysis;
using System.Text.Json.Serialization;

namespace Keylime.Protocol.Upstream;

/// <summary><c>/v3.0/agents/{id}/attestations</c>, both ways.</summary>
public sealed record AttestationAttributes
{
    /// <summary>Service: <c>awaiting_evidence</c>, <c>evaluating_evidence</c> or <c>verification_complete</c>.</summary>
    public string? Stage { get; init; }

    /// <summary>Agent, POST: what it can prove.</summary>
    public IReadOnlyList<EvidenceItem>? EvidenceSupported { get; init; }

    /// <summary>Service, POST: what it asks for.</summary>
    public IReadOnlyList<EvidenceItem>? EvidenceRequested { get; init; }

    /// <summary>Agent, PATCH: the proof.</summary>
    public IReadOnlyList<EvidenceItem>? EvidenceCollected { get; init; }

    /// <summary>Service, PATCH. The upstream agent wants the array and takes it empty; an echo of megabytes helps nobody.</summary>
    public IReadOnlyList<EvidenceItem>? Evidence { get; init; }

    public SystemInfo? SystemInfo { get; init; }

    /// <summary>Service: <c>pending</c>, <c>pass</c> or <c>fail</c>.</summary>
    public string? Evaluation { get; init; }

    /// <summary>Service: <c>broken_evidence_chain</c> or <c>policy_violation</c>.</summary>
    public string? FailureReason { get; init; }

    /// <summary>Service, ours: every reason not to trust the machine.</summary>
    public IReadOnlyList<AttestationFinding>? Findings { get; init; }

    public DateTimeOffset? CapabilitiesReceivedAt { get; init; }

    public DateTimeOffset? ChallengesExpireAt { get; init; }

    public DateTimeOffset? EvidenceReceivedAt { get; init; }

    public DateTimeOffset? VerificationCompletedAt { get; init; }
}

/// <param name="Code">Stable and dotted.</param>
/// <param name="Detail">For a person. Never parsed.</param>
public sealed record AttestationFinding(string Code, string Detail);

/// <param name="BootTime">A hint, which nobody signed.</param>
public sealed record SystemInfo(DateTimeOffset? BootTime);

public sealed record EvidenceItem(string EvidenceClass, string EvidenceType)
{
    public const string Certification = "certification";
    public const string Log = "log";
    public const string TpmQuote = "tpm_quote";
    public const string UefiLog = "uefi_log";
    public const string ImaLog = "ima_log";

    public EvidenceCapabilities? Capabilities { get; init; }

    public ChosenParameters? ChosenParameters { get; init; }

    public EvidenceData? Data { get; init; }
}

/// <summary>What an agent can prove: the first five members of a quote, the others of a log.</summary>
public sealed record EvidenceCapabilities
{
    /// <summary><c>2.0</c>.</summary>
    public string? ComponentVersion { get; init; }

    public IReadOnlyList<string>? HashAlgorithms { get; init; }

    public IReadOnlyList<string>? SignatureSchemes { get; init; }

    /// <summary>PCR bank to PCR indexes.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<int>?>? AvailableSubjects { get; init; }

    public IReadOnlyList<CertificationKey>? CertificationKeys { get; init; }

    public string? EvidenceVersion { get; init; }

    /// <summary>Entries the log holds now.</summary>
    public long? EntryCount { get; init; }

    public bool? SupportsPartialAccess { get; init; }

    public bool? Appendable { get; init; }

    public IReadOnlyList<string>? Formats { get; init; }
}

[SuppressMessage("Performance", "CA1819:Properties should not return arrays", Justification = "A message is its fields.")]
public sealed record CertificationKey
{
    /// <summary><c>asymmetric</c>.</summary>
    public string? KeyClass { get; init; }

    /// <summary><c>rsa</c> or <c>ecc</c>.</summary>
    public string? KeyAlgorithm { get; init; }

    /// <summary>In bits.</summary>
    public int? KeySize { get; init; }

    public string? ServerIdentifier { get; init; }

    /// <summary>The key's name, in hex.</summary>
    public string? LocalIdentifier { get; init; }

    /// <summary>A TPMT_PUBLIC, without the two bytes of size that the registrar wants.</summary>
    public byte[]? Public { get; init; }

    public IReadOnlyList<string>? AllowableHashAlgorithms { get; init; }

    public IReadOnlyList<string>? AllowableSignatureSchemes { get; init; }
}

/// <summary>
/// What the service asks for. The upstream agent takes anything with a <c>format</c> for a log and all else for a quote,
/// and refuses the whole answer if a log lacks it, so a log always has one and a quote never.
/// </summary>
[SuppressMessage("Performance", "CA1819:Properties should not return arrays", Justification = "A message is its fields.")]
public sealed record ChosenParameters
{
    public const string PlainText = "text/plain";

    /// <summary>The bytes of the log as they are, in base64: for logs whose paths are no UTF-8.</summary>
    public const string OctetStream = "application/octet-stream";

    /// <summary>Those bytes as one member of gzip (RFC 6713, RFC 1952), in base64: see <see cref="CompressedLog"/>. Ours, and for measurement lists alone.</summary>
    public const string Gzip = "application/gzip";

    public byte[]? Challenge { get; init; }

    public string? SignatureScheme { get; init; }

    public string? HashAlgorithm { get; init; }

    /// <summary>PCR bank to PCR indexes; null for a bank that is not wanted.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<int>?>? SelectedSubjects { get; init; }

    public CertificationKey? CertificationKey { get; init; }

    public string? Format { get; init; }

    /// <summary>The first entry wanted, counted from 0.</summary>
    public long? StartingOffset { get; init; }

    /// <summary>The most entries wanted.</summary>
    public long? EntryCount { get; init; }
}

/// <summary>The proof: the first three members of a quote, the others of a log.</summary>
[SuppressMessage("Performance", "CA1819:Properties should not return arrays", Justification = "A message is its fields.")]
public sealed record EvidenceData
{
    /// <summary>PCR values, as tpm2-tools dumps them.</summary>
    public byte[]? SubjectData { get; init; }

    /// <summary>A TPMS_ATTEST, without size.</summary>
    public byte[]? Message { get; init; }

    /// <summary>A TPMT_SIGNATURE over it.</summary>
    public byte[]? Signature { get; init; }

    public long? EntryCount { get; init; }

    /// <summary>The text itself for <c>text/plain</c>, base64 for <c>application/octet-stream</c> (so always for a UEFI log) and <c>application/gzip</c>.</summary>
    [JsonConverter(typeof(Utf8TextConverter))]
    public ReadOnlyMemory<byte>? Entries { get; init; }
}
