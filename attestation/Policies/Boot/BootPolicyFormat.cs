namespace Keylime.Attestation;

/// <summary>Which of the two languages a boot policy is written in.</summary>
public enum BootPolicyFormat
{
    /// <summary>Keylime's measured-boot reference state, with the rules of upstream's <c>example</c> policy.</summary>
    ReferenceState,

    /// <summary>Our own: every event has to be named by a rule.</summary>
    EventRules,
}
