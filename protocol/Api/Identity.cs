using System.Text.Json.Serialization;

namespace Keylime.Protocol.Api;

/// <summary>A certificate that is trusted to vouch for TPMs.</summary>
/// <param name="Thumbprint">SHA-256 of the DER, in hex.</param>
/// <param name="Root">Self-issued: a chain may end there. Otherwise it only completes chains.</param>
public sealed record TrustedCertificateSummary(
    string Thumbprint, string Subject, string Issuer, DateTimeOffset NotBefore, DateTimeOffset NotAfter, bool Root)
{
    /// <summary>Where it comes from: <c>store</c>, or <c>folder</c> for a file of the service's own folder.</summary>
    public required string Source { get; init; }
}

public sealed record TrustList(IReadOnlyList<TrustedCertificateSummary> Certificates);

/// <summary>What a rule admits by.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<EnrolmentRuleKind>))]
public enum EnrolmentRuleKind
{
    /// <summary>The endorsement key is on the operator's list.</summary>
    [JsonStringEnumMemberName("ek-list")] EndorsementList,

    /// <summary>The endorsement certificate has an issuer and a maker.</summary>
    [JsonStringEnumMemberName("certificate")] Certificate,

    /// <summary>Somebody else says yes.</summary>
    [JsonStringEnumMemberName("webhook")] Webhook,
}

/// <summary><c>PUT /v1/enrolment-rules/{name}</c>: who is admitted without an operator's hand. Rules are asked in the order of their names; the first that says yes admits.</summary>
public sealed record EnrolmentRuleMessage(EnrolmentRuleKind Kind)
{
    /// <summary>Of <c>certificate</c>: the issuer's distinguished name must contain this.</summary>
    public string? Issuer { get; init; }

    /// <summary>Of <c>certificate</c>: the TPM's manufacturer, as <c>id:</c> and eight hex digits.</summary>
    public string? Manufacturer { get; init; }

    /// <summary>Of <c>certificate</c>: the TPM's model must start with this.</summary>
    public string? Model { get; init; }

    /// <summary>Of <c>certificate</c>: the version of the TPM's firmware that was certified, as <c>id:</c> and hex digits.</summary>
    public string? Version { get; init; }

    /// <summary>Of <c>webhook</c>: where the question is sent.</summary>
    public Uri? Url { get; init; }

    /// <summary>Of <c>webhook</c>: the secret that signs the question, 24 to 64 bytes in base64 after <c>whsec_</c>; made, and told once, if left out.</summary>
    public string? Secret { get; init; }

    /// <summary>Of <c>webhook</c>: how long an answer may take, 1 to 10 seconds; 3 if left out. No answer is a no.</summary>
    public int? TimeoutSeconds { get; init; }

    /// <summary>Only ids that start with this.</summary>
    public string? IdPrefix { get; init; }

    /// <summary>What the node is enrolled with; the service's defaults, and no policy, if left out.</summary>
    public EnrolNode? Node { get; init; }
}

/// <summary>A rule, with its name.</summary>
public sealed record NamedEnrolmentRule(string Name, EnrolmentRuleMessage Rule, DateTimeOffset UpdatedAt);

public sealed record EnrolmentRuleList(IReadOnlyList<NamedEnrolmentRule> Rules);

/// <summary>An endorsement key of the operator's list.</summary>
/// <param name="Hash">SHA-256 of its SubjectPublicKeyInfo, in hex.</param>
public sealed record KnownKey(string Hash)
{
    /// <summary>The id that it must register under.</summary>
    public string? Agent { get; init; }

    public string? Note { get; init; }
}

public sealed record KnownKeyList(IReadOnlyList<KnownKey> Keys)
{
    public string? Next { get; init; }
}

/// <summary><c>POST /v1/known-keys</c>: keys to add; one that is there is replaced.</summary>
public sealed record ImportKnownKeys(IReadOnlyList<KnownKey> Keys);

/// <param name="Added">That were not there.</param>
/// <param name="Replaced">That were there with another id or note.</param>
/// <param name="Unchanged">That were there as they are.</param>
public sealed record ImportedKnownKeys(int Added, int Replaced, int Unchanged);

/// <summary><c>POST /v1/nodes/{id}/approve</c>: admits a waiting node, or the new key of a known one.</summary>
public sealed record ApproveNode
{
    /// <summary>The name of the key that is approved, in hex: another one is refused.</summary>
    public required string AttestationKeyName { get; init; }

    /// <summary>Of a waiting node: what it is enrolled with.</summary>
    public EnrolNode? Node { get; init; }
}

/// <summary>What an enrolment webhook is asked. Its answer is <see cref="EnrolmentAnswer"/>.</summary>
public sealed record EnrolmentQuestion(AgentId Id, string EndorsementKeyHash, string Identity, string AttestationKeyName)
{
    /// <summary>DER, in base64.</summary>
    [System.Diagnostics.CodeAnalysis.SuppressMessage("Performance", "CA1819:Properties should not return arrays", Justification = "A message is its fields.")]
    public byte[]? EndorsementCertificate { get; init; }

    public string? Issuer { get; init; }

    public string? Manufacturer { get; init; }

    public string? Model { get; init; }

    public string? Version { get; init; }
}

/// <param name="Admit">Anything but <see langword="true"/> is a no.</param>
public sealed record EnrolmentAnswer(bool Admit)
{
    /// <summary>For the operator: why not.</summary>
    public string? Reason { get; init; }
}
