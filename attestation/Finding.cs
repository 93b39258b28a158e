using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>One reason not to trust a machine.</summary>
/// <param name="Code">Stable, dotted and part of the API: see <see cref="FindingCodes"/>.</param>
/// <param name="Detail">For a person to read. Never parsed.</param>
public sealed record Finding(string Code, string Detail)
{
    /// <summary>The measured file that it is about, where it is about one.</summary>
    public MeasuredFile? File { get; init; }
}

/// <summary>A line of the measurement list that somebody objects to.</summary>
/// <param name="Path">As measured; control characters and bytes that are no UTF-8 are escaped.</param>
/// <param name="Seen">The digest measured, as <c>sha256:hex</c>.</param>
/// <param name="Allowed">The digests that the policy allows for the path, as <c>sha256:hex</c>.</param>
/// <param name="Line">Counted from 0, in the whole list.</param>
public sealed record MeasuredFile(string Path, string Seen, ImmutableArray<string> Allowed, long Line);

/// <summary>Every code a <see cref="Finding"/> can have. A code once released is never renamed or reused.</summary>
public static class FindingCodes
{
    public const string KeyUnsupported = "key.unsupported";
    public const string KeyNotRestricted = "key.not_restricted";
    public const string EndorsementKeyUnsupported = "ek.unsupported";
    public const string EndorsementCertificateMalformed = "ek.certificate_malformed";
    public const string EndorsementCertificateMismatch = "ek.certificate_mismatch";
    public const string EndorsementCertificateProfile = "ek.certificate_profile";
    public const string EndorsementUntrusted = "ek.untrusted";
    public const string DeviceIdentityMalformed = "device_identity.malformed";
    public const string DeviceIdentityUntrusted = "device_identity.untrusted";
    public const string DeviceIdentityUnproven = "device_identity.unproven";

    public const string QuoteSignatureMalformed = "quote.signature_malformed";
    public const string QuoteSchemeMismatch = "quote.scheme_mismatch";
    public const string QuoteSignatureInvalid = "quote.signature_invalid";
    public const string QuoteMalformed = "quote.malformed";
    public const string QuoteNonceMismatch = "quote.nonce_mismatch";
    public const string QuoteSelectionMismatch = "quote.selection_mismatch";
    public const string QuotePcrValuesMalformed = "quote.pcr_values_malformed";
    public const string QuotePcrMismatch = "quote.pcr_mismatch";
    public const string QuoteResetWentBack = "quote.reset_went_back";
    public const string QuoteClockWentBack = "quote.clock_went_back";

    public const string PossessionSignatureMalformed = "possession.signature_malformed";
    public const string PossessionSchemeMismatch = "possession.scheme_mismatch";
    public const string PossessionSignatureInvalid = "possession.signature_invalid";
    public const string PossessionMalformed = "possession.malformed";
    public const string PossessionChallengeMismatch = "possession.challenge_mismatch";
    public const string PossessionNameMismatch = "possession.name_mismatch";

    public const string ImaLogMissing = "ima.log_missing";
    public const string ImaLogEmpty = "ima.log_empty";
    public const string ImaCheckpointStale = "ima.checkpoint_stale";
    public const string ImaPcrMismatch = "ima.pcr_mismatch";
    public const string ImaLineMalformed = "ima.line_malformed";
    public const string ImaTemplateUnsupported = "ima.template_unsupported";
    public const string ImaTemplateHashMismatch = "ima.template_hash_mismatch";
    public const string ImaPcrIndex = "ima.pcr_index";
    public const string ImaViolation = "ima.violation";
    public const string ImaNotInPolicy = "ima.not_in_policy";
    public const string ImaDigestNotAllowed = "ima.digest_not_allowed";

    public const string PcrValueNotAllowed = "pcr.value_not_allowed";
    public const string PcrNotQuoted = "pcr.not_quoted";
    public const string PolicyMissing = "policy.missing";
    public const string AppraisalError = "internal.appraisal_error";
}
