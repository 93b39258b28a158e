using System.Collections.Frozen;
using Keylime.Protocol.Api;

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
    public const string WebhookChanged = "webhook.changed";
    public const string WebhookDisabled = "webhook.disabled";
    public const string WebhookDeadLettered = "webhook.dead_lettered";

    public const string PayloadChanged = "payload.changed";
    public const string PayloadRevoked = "payload.revoked";
    public const string PayloadReleased = "payload.released";
    public const string PayloadWithheld = "payload.withheld";
    public const string PayloadDelivered = "payload.delivered";
    public const string PayloadNotOpened = "payload.not_opened";
    public const string PayloadWiped = "payload.wiped";
    public const string VaultKeyRotated = "vault.key_rotated";
    public const string WorkPoisoned = "service.work_poisoned";

    // Of events of one node and one moment, those that stand here first are sent first.
    private static readonly (string Type, EventSeverity Severity)[] Table =
    [
        (Registered, EventSeverity.Info),
        (IdentityConflict, EventSeverity.Critical),
        (IdentityRefused, EventSeverity.Warning),
        (DuplicateEndorsementKey, EventSeverity.Critical),
        (ActivationFailed, EventSeverity.Warning),
        (RegistrationDeleted, EventSeverity.Info),
        (KeyChangeProposed, EventSeverity.Warning),
        (KeyChangeApproved, EventSeverity.Info),
        (NodePending, EventSeverity.Info),
        (NodeEnrolled, EventSeverity.Info),
        (NodeRetired, EventSeverity.Info),
        (NodeReactivated, EventSeverity.Info),
        (NodeRebooted, EventSeverity.Info),
        (NodeLate, EventSeverity.Warning),
        (NodeSilent, EventSeverity.Critical),
        (NodeReturned, EventSeverity.Info),
        (NodeFailed, EventSeverity.Critical),
        (NodeRecovered, EventSeverity.Info),
        (NodeTrusted, EventSeverity.Info),
        (AgentError, EventSeverity.Warning),
        (ProofRefused, EventSeverity.Warning),
        (TokenRefused, EventSeverity.Warning),
        (TokenCreated, EventSeverity.Info),
        (TokenRevoked, EventSeverity.Info),
        (PolicyChanged, EventSeverity.Info),
        (PolicyProposed, EventSeverity.Info),
        (PolicyDeleted, EventSeverity.Warning),
        (SignerChanged, EventSeverity.Warning),
        (NodeChanged, EventSeverity.Info),
        (RuleChanged, EventSeverity.Info),
        (TrustChanged, EventSeverity.Warning),
        (ServiceGap, EventSeverity.Warning),
        (Retention, EventSeverity.Info),
        (RowUnreadable, EventSeverity.Critical),
        (WebhookChanged, EventSeverity.Info),
        (WebhookDisabled, EventSeverity.Warning),
        (WebhookDeadLettered, EventSeverity.Warning),
        (PayloadChanged, EventSeverity.Info),
        (PayloadRevoked, EventSeverity.Warning),
        (PayloadReleased, EventSeverity.Info),
        (PayloadWithheld, EventSeverity.Warning),
        (PayloadDelivered, EventSeverity.Info),
        (PayloadNotOpened, EventSeverity.Warning),
        (PayloadWiped, EventSeverity.Info),
        (VaultKeyRotated, EventSeverity.Info),
        (WorkPoisoned, EventSeverity.Warning), // at the end: places are in the keys of what waits
    ];

    private static readonly FrozenDictionary<string, int> Places = Table.Index().ToFrozenDictionary(static t => t.Item.Type, static t => t.Index);

    /// <summary>All of them, for filters and documents.</summary>
    public static IReadOnlyList<string> All { get; } = [.. Table.Select(static t => t.Type)];

    /// <summary>How much an event of that type matters; one that a newer program told is taken for grave.</summary>
    public static EventSeverity SeverityOf(string type) => Places.TryGetValue(type, out var place) ? Table[place].Severity : EventSeverity.Critical;

    /// <summary>Where events of that type stand among those of the same moment.</summary>
    public static int PlaceOf(string type) => Places.GetValueOrDefault(type, Table.Length);
}
