using System.Diagnostics.CodeAnalysis;

namespace Keylime.Tpm;

/// <summary>TPMA_OBJECT (Part 2, 8.3).</summary>
[Flags]
[SuppressMessage("Design", "CA1028:Enum Storage should be Int32", Justification = "The width is the wire's.")]
public enum ObjectAttributes : uint
{
    None = 0,
    FixedTpm = 1 << 1,
    StClear = 1 << 2,
    FixedParent = 1 << 4,
    SensitiveDataOrigin = 1 << 5,
    UserWithAuth = 1 << 6,
    AdminWithPolicy = 1 << 7,
    FirmwareLimited = 1 << 8,
    SvnLimited = 1 << 9,
    NoDictionaryAttack = 1 << 10,
    EncryptedDuplication = 1 << 11,
    Restricted = 1 << 16,
    Decrypt = 1 << 17,
    Sign = 1 << 18,
    X509Sign = 1 << 19,
}
