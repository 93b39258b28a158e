using System.Numerics;
using System.Security.Cryptography;

namespace Keylime.Attestation;

/// <summary>What exactly a file's signature is over, and whether a key made it.</summary>
internal static class FileSignature
{
    private const int MaxDigest = 64;

    /// <summary>True if the key made the signature.</summary>
    /// <param name="digest">Of the file, or of its fs-verity descriptor; of the signature's hash and its size.</param>
    public static bool Verify(ImaSignature signature, ReadOnlySpan<byte> digest, VerificationKey key)
    {
        if (signature.Version == 1)
            return VerifyFirst(signature, digest, key);

        Span<byte> signed = stackalloc byte[MaxDigest];
        signed = signed[..digest.Length];
        if (signature.Version == 2)
            digest.CopyTo(signed);
        else
            HashFileId(signature, digest, signed);

        if (key.Point is not null)
            return key.VerifyEcdsa(signed, signature.Value.Span);
        return signature.Hash.RuntimeName() is { } name
            ? key.VerifyPkcs1(signed, signature.Value.Span, name)
            : signature.Hash.DigestInfo() is { IsEmpty: false } prefix && VerifyRaw(key, signature.Value.Span, [.. prefix, .. signed]);
    }

    // Version 3 signs the hash of ima_file_id: the attribute's type, the hash's number, the digest (kernel: security/integrity/integrity.h).
    private static void HashFileId(ImaSignature signature, ReadOnlySpan<byte> digest, Span<byte> into)
    {
        Span<byte> id = stackalloc byte[2 + MaxDigest];
        (id[0], id[1]) = ((byte)signature.Kind, (byte)signature.Hash);
        digest.CopyTo(id[2..]);
        CryptographicOperations.HashData(signature.Hash.RuntimeName()!.Value, id[..(2 + digest.Length)], into);
    }

    // Version 1 signs SHA-1 over the file's digest and the signature's own header, padded as PKCS#1 v1.5 but without naming the hash (kernel: lib/digsig.c).
    private static bool VerifyFirst(ImaSignature signature, ReadOnlySpan<byte> digest, VerificationKey key)
    {
#pragma warning disable CA5350 // the format's hash; what is hashed begins with a digest that its author cannot choose bit by bit
        var signed = SHA1.HashData([.. digest, .. signature.SignedHeader.Span]);
#pragma warning restore CA5350
        return VerifyRaw(key, signature.Value.Span, signed);
    }

    // RFC 8017, 8.2.2, with the encoded message made and compared, never taken apart.
    private static bool VerifyRaw(VerificationKey key, ReadOnlySpan<byte> signature, ReadOnlySpan<byte> message)
    {
        const int padding = 11; // 00 01, eight FF at least, 00
        if (key.Rsa is not { Modulus: { } modulus, Exponent: { } exponent } || signature.Length > modulus.Length || message.Length > modulus.Length - padding)
            return false;

        var n = Number(modulus);
        var s = Number(signature);
        if (s >= n)
            return false;

        Span<byte> expected = stackalloc byte[modulus.Length];
        expected.Fill(0xFF);
        (expected[0], expected[1], expected[^(message.Length + 1)]) = (0, 1, 0);
        message.CopyTo(expected[^message.Length..]);
        return BigInteger.ModPow(s, Number(exponent), n) == Number(expected);
    }

    private static BigInteger Number(ReadOnlySpan<byte> value) => new(value, isUnsigned: true, isBigEndian: true);
}
