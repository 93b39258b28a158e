using System.Globalization;

namespace Keylime.Tpm;

/// <summary>TPM_RC (Part 2, 6.6): what a TPM answers with, in words too.</summary>
public readonly record struct TpmResponseCode(uint Value)
{
    private const uint Format1 = 0x080;      // RC_FMT1: the code speaks of a handle, a session or a parameter
    private const uint Version2 = 0x100;     // RC_VER1: a TPM 2.0 code, not a TPM 1.2 one
    private const uint Warning = 0x900;      // RC_WARN
    private const uint ParameterBit = 0x040; // RC_P
    private const uint SessionBit = 0x800;   // RC_S, where it is no parameter

    public static TpmResponseCode Success { get; }

    public bool IsSuccess => Value == 0;

    /// <summary>The command was not started; the same bytes may be sent again (Part 2, 6.6.3: RETRY, YIELDED, TESTING).</summary>
    public bool IsTransient => Value is Warning + 0x022 or Warning + 0x008 or Warning + 0x00A;

    /// <summary>TPM_RC_INITIALIZE: TPM2_Startup has not been sent, or has been already.</summary>
    public bool IsInitialize => Value == Version2;

    /// <summary>TPM_RC_HANDLE, of whichever handle: there is no such object.</summary>
    public bool IsHandle => (Value & (Format1 | 0x3F)) == (Format1 | 0x0B) || Value is >= Warning + 0x010 and <= Warning + 0x016;

    /// <summary>The meaning, and where it applies: <c>TPM_RC_VALUE, parameter 2: value is out of range or is not correct for the context</c>.</summary>
    public string Describe()
    {
        if (Value == 0)
            return "TPM_RC_SUCCESS";

        if ((Value & Format1) != 0)
        {
            var (name, meaning) = Format1Meaning(Value & 0x3F);
            return $"{name}, {Subject()}: {meaning}";
        }

        if ((Value & Version2) == 0)
            return string.Create(CultureInfo.InvariantCulture, $"TPM 1.2 code 0x{Value:x}");

        var (plain, text) = (Value & Warning) == Warning ? WarningMeaning(Value & 0x7F) : ErrorMeaning(Value & 0x7F);
        return $"{plain}: {text}";
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"0x{Value:x3} ({Describe()})");

    private string Subject()
    {
        if ((Value & ParameterBit) != 0)
            return Numbered("parameter", Value >> 8 & 0xF);
        return (Value & SessionBit) != 0 ? Numbered("session", Value >> 8 & 0x7) : Numbered("handle", Value >> 8 & 0x7);

        static string Numbered(string what, uint number) => number == 0 ? $"some {what}" : $"{what} {number}";
    }

    // Part 2, table 17
    private static (string Name, string Meaning) Format1Meaning(uint code) => code switch
    {
        0x01 => ("TPM_RC_ASYMMETRIC", "asymmetric algorithm not supported or not correct"),
        0x02 => ("TPM_RC_ATTRIBUTES", "inconsistent attributes"),
        0x03 => ("TPM_RC_HASH", "hash algorithm not supported or not appropriate"),
        0x04 => ("TPM_RC_VALUE", "value is out of range or is not correct for the context"),
        0x05 => ("TPM_RC_HIERARCHY", "hierarchy is not enabled or is not correct for the use"),
        0x07 => ("TPM_RC_KEY_SIZE", "key size is not supported"),
        0x08 => ("TPM_RC_MGF", "mask generation function not supported"),
        0x09 => ("TPM_RC_MODE", "mode of operation not supported"),
        0x0A => ("TPM_RC_TYPE", "the type of the value is not appropriate for the use"),
        0x0B => ("TPM_RC_HANDLE", "the handle is not correct for the use"),
        0x0C => ("TPM_RC_KDF", "unsupported key derivation function"),
        0x0D => ("TPM_RC_RANGE", "value was out of allowed range"),
        0x0E => ("TPM_RC_AUTH_FAIL", "the authorization failed and the dictionary-attack counter went up"),
        0x0F => ("TPM_RC_NONCE", "invalid nonce size or nonce value mismatch"),
        0x10 => ("TPM_RC_PP", "authorization requires assertion of physical presence"),
        0x12 => ("TPM_RC_SCHEME", "unsupported or incompatible scheme"),
        0x15 => ("TPM_RC_SIZE", "structure is the wrong size"),
        0x16 => ("TPM_RC_SYMMETRIC", "unsupported symmetric algorithm or key size, or not appropriate"),
        0x17 => ("TPM_RC_TAG", "incorrect structure tag"),
        0x18 => ("TPM_RC_SELECTOR", "union selector is incorrect"),
        0x1A => ("TPM_RC_INSUFFICIENT", "the TPM could not unmarshal a value because there were not enough octets"),
        0x1B => ("TPM_RC_SIGNATURE", "the signature is not valid"),
        0x1C => ("TPM_RC_KEY", "key fields are not compatible with the selected use"),
        0x1D => ("TPM_RC_POLICY_FAIL", "a policy check failed"),
        0x1F => ("TPM_RC_INTEGRITY", "integrity check failed"),
        0x20 => ("TPM_RC_TICKET", "invalid ticket"),
        0x21 => ("TPM_RC_RESERVED_BITS", "reserved bits not set to zero"),
        0x22 => ("TPM_RC_BAD_AUTH", "authorization failure without dictionary-attack implications"),
        0x23 => ("TPM_RC_EXPIRED", "the policy has expired"),
        0x24 => ("TPM_RC_POLICY_CC", "the command code is not the one of the policy"),
        0x25 => ("TPM_RC_BINDING", "public and sensitive portions of an object are not bound together"),
        0x26 => ("TPM_RC_CURVE", "curve not supported"),
        0x27 => ("TPM_RC_ECC_POINT", "point is not on the required curve"),
        _ => ($"TPM_RC_FMT1+0x{code:x2}", "a code of the TPM's maker or of a later specification"),
    };

    // Part 2, table 16, RC_VER1
    private static (string Name, string Meaning) ErrorMeaning(uint code) => code switch
    {
        0x00 => ("TPM_RC_INITIALIZE", "TPM not initialized by TPM2_Startup, or already initialized"),
        0x01 => ("TPM_RC_FAILURE", "commands not accepted because of a TPM failure"),
        0x03 => ("TPM_RC_SEQUENCE", "improper use of a sequence handle"),
        0x19 => ("TPM_RC_DISABLED", "the command is disabled"),
        0x20 => ("TPM_RC_EXCLUSIVE", "the command failed because audit sequence required exclusivity"),
        0x24 => ("TPM_RC_AUTH_TYPE", "authorization handle is not correct for the command"),
        0x25 => ("TPM_RC_AUTH_MISSING", "command requires an authorization session for a handle and it is not present"),
        0x26 => ("TPM_RC_POLICY", "policy failure in a math operation or an invalid authPolicy value"),
        0x27 => ("TPM_RC_PCR", "PCR check fail"),
        0x28 => ("TPM_RC_PCR_CHANGED", "PCR have changed since checked"),
        0x2D => ("TPM_RC_UPGRADE", "the TPM is in field-upgrade mode"),
        0x2E => ("TPM_RC_TOO_MANY_CONTEXTS", "context ID counter is at maximum"),
        0x2F => ("TPM_RC_AUTH_UNAVAILABLE", "authValue or authPolicy is not available for the selected entity"),
        0x30 => ("TPM_RC_REBOOT", "a _TPM_Init and Startup(CLEAR) is required before the TPM can resume operation"),
        0x31 => ("TPM_RC_UNBALANCED", "the protection algorithms are not reasonably balanced"),
        0x42 => ("TPM_RC_COMMAND_SIZE", "command size is inconsistent with the contents of the command buffer"),
        0x43 => ("TPM_RC_COMMAND_CODE", "command code not supported"),
        0x44 => ("TPM_RC_AUTHSIZE", "the authorization area has the wrong size"),
        0x45 => ("TPM_RC_AUTH_CONTEXT", "use of an authorization session with a command that cannot have one"),
        0x46 => ("TPM_RC_NV_RANGE", "NV offset and size are out of range"),
        0x47 => ("TPM_RC_NV_SIZE", "requested allocation size is larger than allowed"),
        0x48 => ("TPM_RC_NV_LOCKED", "NV access locked"),
        0x49 => ("TPM_RC_NV_AUTHORIZATION", "NV access authorization fails"),
        0x4A => ("TPM_RC_NV_UNINITIALIZED", "an NV index is used before being initialized"),
        0x4B => ("TPM_RC_NV_SPACE", "insufficient space for NV allocation"),
        0x4C => ("TPM_RC_NV_DEFINED", "NV index or persistent object already defined"),
        0x50 => ("TPM_RC_BAD_CONTEXT", "context is not valid"),
        0x51 => ("TPM_RC_CPHASH", "cpHash value already set or not correct for use"),
        0x52 => ("TPM_RC_PARENT", "handle for parent is not a valid parent"),
        0x53 => ("TPM_RC_NEEDS_TEST", "some function needs testing"),
        0x54 => ("TPM_RC_NO_RESULT", "an internal function cannot process a request due to an unspecified problem"),
        0x55 => ("TPM_RC_SENSITIVE", "the sensitive area did not unmarshal correctly after decryption"),
        _ => ($"TPM_RC_VER1+0x{code:x2}", "a code of the TPM's maker or of a later specification"),
    };

    // Part 2, table 18, RC_WARN
    private static (string Name, string Meaning) WarningMeaning(uint code) => code switch
    {
        0x01 => ("TPM_RC_CONTEXT_GAP", "gap for context ID is too large"),
        0x02 => ("TPM_RC_OBJECT_MEMORY", "out of memory for object contexts"),
        0x03 => ("TPM_RC_SESSION_MEMORY", "out of memory for session contexts"),
        0x04 => ("TPM_RC_MEMORY", "out of shared object and session memory, or needed space for internal operations"),
        0x05 => ("TPM_RC_SESSION_HANDLES", "out of session handles: a session must be flushed before a new one is created"),
        0x06 => ("TPM_RC_OBJECT_HANDLES", "out of object handles"),
        0x07 => ("TPM_RC_LOCALITY", "bad locality"),
        0x08 => ("TPM_RC_YIELDED", "the TPM has suspended operation on the command; it may be sent again"),
        0x09 => ("TPM_RC_CANCELED", "the command was canceled"),
        0x0A => ("TPM_RC_TESTING", "TPM is performing self-tests"),
        >= 0x10 and <= 0x16 => ($"TPM_RC_REFERENCE_H{code - 0x10}", $"handle {code - 0x10 + 1} references a transient object or session that is not loaded"),
        >= 0x18 and <= 0x1E => ($"TPM_RC_REFERENCE_S{code - 0x18}", $"authorization session {code - 0x18 + 1} references a session that is not loaded"),
        0x20 => ("TPM_RC_NV_RATE", "the TPM is rate-limiting accesses to prevent wearout of NV"),
        0x21 => ("TPM_RC_LOCKOUT", "authorizations for objects subject to dictionary-attack protection are not allowed: the TPM is in lockout"),
        0x22 => ("TPM_RC_RETRY", "the TPM was not able to start the command; it may be sent again"),
        0x23 => ("TPM_RC_NV_UNAVAILABLE", "the command may require writing of NV and NV is not current accessible"),
        _ => ($"TPM_RC_WARN+0x{code:x2}", "a code of the TPM's maker or of a later specification"),
    };
}
