namespace Keylime.Functions.Storage;

/// <summary>What events are called. Stable and dotted: part of the API.</summary>
internal static class EventTypes
{
    public const string Registered = "registration.activated";
    public const string IdentityConflict = "registration.identity_conflict";
    public const string IdentityRefused = "registration.identity_refused";
    public const string DuplicateEndorsementKey = "registration.duplicate_endorsement_key";
    public const string ActivationFailed = "registration.activation_failed";
    public const string RegistrationDeleted = "registration.deleted";
    public const string KeyChangeProposed = "registration.key_change_proposed";
    public const string KeyChangeApproved = "registration.key_change_approved";
    public const string NodePending = "node.pending";
    public const string NodeEnrolled = "node.enrolled";
    public const string NodeRetired = "node.retired";
    public const string NodeReactivated = "node.reactivated";
    public const string NodeFailed = "node.failed";
    public const string NodeRecovered = "node.recovered";
    public const string NodeTrusted = "node.trusted";
    public const string NodeRebooted = "node.rebooted";
    public const string NodeLate = "node.late";
    public const string NodeSilent = "node.silent";
    public const string NodeReturned = "node.returned";
    public const string AgentError = "attestation.agent_error";
    public const string ProofRefused = "session.proof_refused";
    public const string TokenRefused = "token.refused";
    public const string TokenCreated = "token.created";
    public const string TokenRevoked = "token.revoked";
    public const string PolicyChanged = "policy.changed";
    public const string PolicyProposed = "policy.proposed";
    public const string PolicyDeleted = "policy.deleted";
    public const string SignerChanged = "policy.signer_changed";
    public const string NodeChanged = "node.changed";
    public const string RuleChanged = "rule.changed";
    public const string TrustChanged = "trust.changed";
    public const string ServiceGap = "service.gap";
    public const string Retention = "service.retention";
    public const string RowUnreadable = "storage.row_unreadable";

    /// <summary>All of them, for filters and documents.</summary>
    public static IReadOnlyList<string> All { get; } =
    [
        Registered, IdentityConflict, IdentityRefused, DuplicateEndorsementKey, ActivationFailed, RegistrationDeleted, KeyChangeProposed,
        KeyChangeApproved, NodePending, NodeEnrolled, NodeRetired, NodeReactivated, NodeFailed, NodeRecovered, NodeTrusted, NodeRebooted, NodeLate, NodeSilent,
        NodeReturned, AgentError, ProofRefused, TokenRefused, TokenCreated, TokenRevoked, PolicyChanged, PolicyProposed, PolicyDeleted, SignerChanged, NodeChanged, RuleChanged, TrustChanged, RowUnreadable,
        ServiceGap, Retention,
    ];
}
