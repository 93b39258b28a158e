using System.Security.Cryptography;
using System.Text;

namespace Keylime.Attestation;

/// <summary>What is to be known of the kernel's hashes: their names in measurement lists, their sizes, and which of them can be computed here.</summary>
public static class KernelHashes
{
    private static readonly (string Name, int Size)[] Table =
    [
        ("md4", 16), ("md5", 16), ("sha1", 20), ("rmd160", 20), ("sha256", 32), ("sha384", 48), ("sha512", 64), ("sha224", 28),
        ("rmd128", 16), ("rmd256", 32), ("rmd320", 40), ("wp256", 32), ("wp384", 48), ("wp512", 64),
        ("tgr128", 16), ("tgr160", 20), ("tgr192", 24), ("sm3", 32), ("streebog256", 32), ("streebog512", 64),
        ("sha3-256", 32), ("sha3-384", 48), ("sha3-512", 64),
    ];

    /// <summary>The name as a measurement list has it: <c>sha256</c>.</summary>
    public static string Name(this KernelHash hash) => Table[(int)hash].Name;

    /// <summary>In bytes.</summary>
    public static int Size(this KernelHash hash) => Table[(int)hash].Size;

    public static bool IsDefined(this KernelHash hash) => (int)hash < Table.Length;

    /// <summary>Finds a hash by its name in a measurement list. Names are lower case; <c>sm3-256</c> is an older name of <c>sm3</c>.</summary>
    public static bool TryFromName(ReadOnlySpan<byte> name, out KernelHash hash)
    {
        for (var i = 0; i < Table.Length; i++)
        {
            if (Ascii.Equals(name, Table[i].Name))
            {
                hash = (KernelHash)i;
                return true;
            }
        }

        hash = KernelHash.Sm3;
        return name.SequenceEqual("sm3-256"u8);
    }

    /// <summary>The runtime's name of a hash; <see langword="null"/> where it does not compute it.</summary>
    public static HashAlgorithmName? RuntimeName(this KernelHash hash) => hash switch
    {
        KernelHash.Md5 => HashAlgorithmName.MD5,
        KernelHash.Sha1 => HashAlgorithmName.SHA1,
        KernelHash.Sha256 => HashAlgorithmName.SHA256,
        KernelHash.Sha384 => HashAlgorithmName.SHA384,
        KernelHash.Sha512 => HashAlgorithmName.SHA512,
        KernelHash.Sha3Of256 when SHA3_256.IsSupported => HashAlgorithmName.SHA3_256,
        KernelHash.Sha3Of384 when SHA3_384.IsSupported => HashAlgorithmName.SHA3_384,
        KernelHash.Sha3Of512 when SHA3_512.IsSupported => HashAlgorithmName.SHA3_512,
        _ => null,
    };

    /// <summary>What stands in front of the digest in PKCS#1 v1.5 (RFC 8017, 9.2; RIPEMD by RFC 4880, 5.2.2), of hashes that the runtime does not sign with.</summary>
    internal static ReadOnlySpan<byte> DigestInfo(this KernelHash hash) => hash switch
    {
        KernelHash.Sha224 => [0x30, 0x2D, 0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x04, 0x05, 0x00, 0x04, 0x1C],
        KernelHash.RipeMd160 => [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2B, 0x24, 0x03, 0x02, 0x01, 0x05, 0x00, 0x04, 0x14],
        _ => [],
    };
}
