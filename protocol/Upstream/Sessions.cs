using System.Diagnostics.CodeAnalysis;

namespace Keylime.Protocol.Upstream;

/// <summary><c>POST</c> and <c>PATCH /v3.0/sessions</c>, both ways: a proof of possession of the attestation key earns a token.</summary>
public sealed record SessionAttributes
{
    public string? AgentId { get; init; }

    /// <summary>Agent, POST.</summary>
    public IReadOnlyList<AuthenticationMethod>? AuthenticationSupported { get; init; }

    /// <summary>Service, POST.</summary>
    public IReadOnlyList<AuthenticationMethod>? AuthenticationRequested { get; init; }

    /// <summary>Agent, PATCH.</summary>
    public IReadOnlyList<AuthenticationMethod>? AuthenticationProvided { get; init; }

    /// <summary>Service, PATCH: <c>pass</c> or <c>fail</c>.</summary>
    public string? Evaluation { get; init; }

    /// <summary>Service, PATCH, on a pass: opaque, and a secret.</summary>
    public string? Token { get; init; }

    /// <summary>Service, PATCH. The upstream agent wants the member, with each element complete.</summary>
    public IReadOnlyList<AuthenticationMethod>? Authentication { get; init; }

    public DateTimeOffset? CreatedAt { get; init; }

    public DateTimeOffset? ChallengesExpireAt { get; init; }

    public DateTimeOffset? ResponseReceivedAt { get; init; }

    public DateTimeOffset? TokenExpiresAt { get; init; }
}

public sealed record AuthenticationMethod(string AuthenticationClass, string AuthenticationType)
{
    public const string PopClass = "pop";
    public const string TpmPopType = "tpm_pop";

    public AuthenticationParameters? ChosenParameters { get; init; }

    public AuthenticationProof? Data { get; init; }
}

[SuppressMessage("Performance", "CA1819:Properties should not return arrays", Justification = "A message is its fields.")]
public sealed record AuthenticationParameters(byte[] Challenge);

/// <param name="Message">A TPMS_ATTEST of type certify.</param>
/// <param name="Signature">A TPMT_SIGNATURE over it.</param>
[SuppressMessage("Performance", "CA1819:Properties should not return arrays", Justification = "A message is its fields.")]
public sealed record AuthenticationProof(byte[] Message, byte[] Signature);
