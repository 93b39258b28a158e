using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>One reason not to trust a machine.</summary>
/// <param name="Code">Stable, dotted and part of the API: see <see cref="FindingCodes"/>.</param>
/// <param name="Detail">For a person to read. Never parsed.</param>
public sealed record Finding(string Code, string Detail)
{
    /// <summary>The measured file that it is about, where it is about one.</summary>
    public MeasuredFile? File { get; init; }

    /// <summary>The event of the boot log that it is about, where it is about one.</summary>
    public MeasuredEvent? Event { get; init; }
}

/// <summary>A line of the measurement list that somebody objects to.</summary>
/// <param name="Path">As measured; control characters and bytes that are no UTF-8 are escaped.</param>
/// <param name="Seen">The digest measured, as <c>sha256:hex</c>.</param>
/// <param name="Allowed">The digests that the policy allows for the path, as <c>sha256:hex</c>.</param>
/// <param name="Line">Counted from 0, in the whole list.</param>
public sealed record MeasuredFile(string Path, string Seen, ImmutableArray<string> Allowed, long Line)
{
    /// <summary>Another path for which the policy lists the digest that was seen.</summary>
    public string? KnownAs { get; init; }

    /// <summary>The layer of the policy that knows the file and has run out, and when.</summary>
    public StaleLayer? Stale { get; init; }
}

/// <summary>A layer of a policy that allows nothing any more.</summary>
public sealed record StaleLayer(string Name, DateTimeOffset Until);

/// <summary>An event of the boot log that somebody objects to.</summary>
/// <param name="Index">Its place in the whole log, counted from 0.</param>
/// <param name="Type">As the log has it: <c>EV_EFI_ACTION</c>. Types are not measured.</param>
/// <param name="Expected">In words, or as <c>sha256:hex</c>.</param>
/// <param name="Seen">In words, or as <c>sha256:hex</c>; empty where there is no such event.</param>
public sealed record MeasuredEvent(int Pcr, int Index, string Type, string Expected, string Seen);

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
    public const string DeviceIdentityProfile = "device_identity.certificate_profile";
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
    public const string ImaStale = "ima.stale";
    public const string ImaViolationBudget = "ima.violation_budget";
    public const string ImaSignatureInvalid = "ima.signature_invalid";
    public const string ImaSignatureKeyUnknown = "ima.signature_key_unknown";
    public const string ImaKeyNotAllowed = "ima.key_not_allowed";
    public const string ImaKeyMalformed = "ima.key_malformed";
    public const string ImaBufferNotAllowed = "ima.buffer_not_allowed";
    public const string ImaBufferMismatch = "ima.buffer_mismatch";
    public const string ImaBootAggregate = "ima.boot_aggregate";

    public const string ImaDmMalformed = "ima.dm_malformed";
    public const string ImaDmNotInPolicy = "ima.dm_not_in_policy";
    public const string ImaDmTableNotAllowed = "ima.dm_table_not_allowed";
    public const string ImaDmTableChanged = "ima.dm_table_changed";
    public const string ImaDmChangeNotAllowed = "ima.dm_change_not_allowed";
    public const string ImaDmOrder = "ima.dm_order";
    public const string ImaDmDeviceInvalid = "ima.dm_device_invalid";
    public const string ImaDmRuleUnused = "ima.dm_rule_unused";

    public const string BootLogMissing = "boot.log_missing";
    public const string BootLogMalformed = "boot.log_malformed";
    public const string BootBankMissing = "boot.bank_missing";
    public const string BootPcrMismatch = "boot.pcr_mismatch";
    public const string BootPcrNotQuoted = "boot.pcr_not_quoted";
    public const string BootSeparator = "boot.separator";
    public const string BootActionForged = "boot.action_forged";
    public const string BootSignatureListMalformed = "boot.signature_list_malformed";
    public const string BootEventNotAllowed = "boot.event_not_allowed";
    public const string BootEventMissing = "boot.event_missing";
    public const string BootSecureBootOff = "boot.secure_boot_off";
    public const string BootDatabaseNotAllowed = "boot.database_not_allowed";
    public const string BootImageNotAllowed = "boot.image_not_allowed";
    public const string BootCommandLineNotAllowed = "boot.command_line_not_allowed";
    public const string BootFirmwareNotAllowed = "boot.firmware_not_allowed";
    public const string BootReferenceState = "boot.reference_state";

    public const string PcrValueNotAllowed = "pcr.value_not_allowed";
    public const string PcrNotQuoted = "pcr.not_quoted";
    public const string PolicyMissing = "policy.missing";
    public const string AppraisalError = "internal.appraisal_error";
}
