using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;

namespace Keylime.Tpm;

/// <summary>TPM_ALG_ID (Part 2, 6.3), as far as this system speaks it.</summary>
[SuppressMessage("Design", "CA1028:Enum Storage should be Int32", Justification = "The width is the wire's.")]
[SuppressMessage("Design", "CA1008:Enums should have zero value", Justification = "TPM_ALG_ERROR names no algorithm.")]
public enum TpmAlgorithm : ushort
{
    Rsa = 0x0001,
    Sha1 = 0x0004,
    Hmac = 0x0005,
    Aes = 0x0006,
    Mgf1 = 0x0007,
    KeyedHash = 0x0008,
    Sha256 = 0x000B,
    Sha384 = 0x000C,
    Sha512 = 0x000D,
    Null = 0x0010,
    Sm3 = 0x0012,
    RsaSsa = 0x0014,
    RsaEs = 0x0015,
    RsaPss = 0x0016,
    Oaep = 0x0017,
    Ecdsa = 0x0018,
    Ecdh = 0x0019,
    Sm2 = 0x001B,
    EcSchnorr = 0x001C,
    EcMqv = 0x001D,
    Kdf1Sp80056A = 0x0020,
    Kdf2 = 0x0021,
    KdfA = 0x0022,
    Ecc = 0x0023,
    SymCipher = 0x0025,
    Cfb = 0x0043,
}

/// <summary>TPM_ECC_CURVE (Part 2, 6.4).</summary>
[SuppressMessage("Design", "CA1028:Enum Storage should be Int32", Justification = "The width is the wire's.")]
[SuppressMessage("Design", "CA1008:Enums should have zero value", Justification = "TPM_ECC_NONE names no curve.")]
public enum TpmCurve : ushort
{
    NistP256 = 0x0003,
    NistP384 = 0x0004,
    NistP521 = 0x0005,
}

/// <summary>What is to be known of an algorithm: its size, and its name in Keylime's protocol.</summary>
public static class TpmAlgorithms
{
    /// <summary>The largest digest that this system reads: SHA-512's.</summary>
    public const int MaxDigestSize = 64;

    /// <summary>The size of a digest, in bytes; 0 for what is no hash that this system computes.</summary>
    public static int DigestSize(this TpmAlgorithm hash) => hash switch
    {
        TpmAlgorithm.Sha1 => SHA1.HashSizeInBytes,
        TpmAlgorithm.Sha256 => SHA256.HashSizeInBytes,
        TpmAlgorithm.Sha384 => SHA384.HashSizeInBytes,
        TpmAlgorithm.Sha512 => SHA512.HashSizeInBytes,
        _ => 0,
    };

    /// <summary>True for the hashes that this system computes.</summary>
    public static bool IsHash(this TpmAlgorithm algorithm) => algorithm.DigestSize() > 0;

    /// <exception cref="ArgumentOutOfRangeException">It is no hash that this system computes.</exception>
    public static HashAlgorithmName HashName(this TpmAlgorithm hash) => hash switch
    {
        TpmAlgorithm.Sha1 => HashAlgorithmName.SHA1,
        TpmAlgorithm.Sha256 => HashAlgorithmName.SHA256,
        TpmAlgorithm.Sha384 => HashAlgorithmName.SHA384,
        TpmAlgorithm.Sha512 => HashAlgorithmName.SHA512,
        _ => throw new ArgumentOutOfRangeException(nameof(hash), hash, "No hash that this system computes."),
    };

    /// <summary>The name in Keylime's protocol and in the IMA log: <c>sha256</c>, <c>rsassa</c>, <c>ecc</c>.</summary>
    /// <returns><see langword="null"/> where the protocol has no name for it.</returns>
    public static string? ProtocolName(this TpmAlgorithm algorithm) => algorithm switch
    {
        TpmAlgorithm.Rsa => "rsa",
        TpmAlgorithm.Ecc => "ecc",
        TpmAlgorithm.Sha1 => "sha1",
        TpmAlgorithm.Sha256 => "sha256",
        TpmAlgorithm.Sha384 => "sha384",
        TpmAlgorithm.Sha512 => "sha512",
        TpmAlgorithm.Sm3 => "sm3_256",
        TpmAlgorithm.RsaSsa => "rsassa",
        TpmAlgorithm.RsaPss => "rsapss",
        TpmAlgorithm.Ecdsa => "ecdsa",
        TpmAlgorithm.EcSchnorr => "ecschnorr",
        _ => null,
    };

    /// <summary>Finds an algorithm by its name in Keylime's protocol, whatever its case.</summary>
    public static bool TryFromProtocolName(string? name, out TpmAlgorithm algorithm)
    {
        foreach (var candidate in Enum.GetValues<TpmAlgorithm>())
        {
            if (candidate.ProtocolName() is { } known && known.Equals(name, StringComparison.OrdinalIgnoreCase))
            {
                algorithm = candidate;
                return true;
            }
        }

        algorithm = TpmAlgorithm.Null;
        return false;
    }

    /// <summary>The size of one coordinate on the curve, in bytes.</summary>
    public static int CoordinateSize(this TpmCurve curve) => curve switch
    {
        TpmCurve.NistP256 => 32,
        TpmCurve.NistP384 => 48,
        TpmCurve.NistP521 => 66,
        _ => throw new ArgumentOutOfRangeException(nameof(curve), curve, "No curve that this system speaks."),
    };

    public static ECCurve ToEccCurve(this TpmCurve curve) => curve switch
    {
        TpmCurve.NistP256 => ECCurve.NamedCurves.nistP256,
        TpmCurve.NistP384 => ECCurve.NamedCurves.nistP384,
        TpmCurve.NistP521 => ECCurve.NamedCurves.nistP521,
        _ => throw new ArgumentOutOfRangeException(nameof(curve), curve, "No curve that this system speaks."),
    };
}
