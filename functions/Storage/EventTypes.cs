namespace Keylime.Functions.Storage;

/// <summary>What events are called. Stable and dotted: part of the API.</summary>
internal static class EventTypes
{
    public const string IdentityConflict = "registration.identity_conflict";
    public const string ActivationFailed = "registration.activation_failed";
    public const string RegistrationDeleted = "registration.deleted";
    public const string NodeEnrolled = "node.enrolled";
    public const string NodeRetired = "node.retired";
    public const string NodeFailed = "node.failed";
    public const string NodeRecovered = "node.recovered";
    public const string NodeTrusted = "node.trusted";
    public const string NodeRebooted = "node.rebooted";
    public const string AgentError = "attestation.agent_error";
}
