namespace Keylime.Attestation;

/// <summary>A hash as Linux numbers and names it (kernel: include/uapi/linux/hash_info.h, crypto/hash_info.c).</summary>
public enum KernelHash : byte
{
    Md4 = 0,
    Md5 = 1,
    Sha1 = 2,
    RipeMd160 = 3,
    Sha256 = 4,
    Sha384 = 5,
    Sha512 = 6,
    Sha224 = 7,
    RipeMd128 = 8,
    RipeMd256 = 9,
    RipeMd320 = 10,
    Whirlpool256 = 11,
    Whirlpool384 = 12,
    Whirlpool512 = 13,
    Tiger128 = 14,
    Tiger160 = 15,
    Tiger192 = 16,
    Sm3 = 17,
    Streebog256 = 18,
    Streebog512 = 19,
    Sha3Of256 = 20,
    Sha3Of384 = 21,
    Sha3Of512 = 22,
}
