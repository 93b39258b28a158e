using System.Buffers;
using System.Buffers.Binary;
using System.Numerics;
using System.Security.Cryptography;
using System.Text;

namespace Keylime.Tpm;

/// <summary>Key derivation as TPMs do it (Part 1, 11.4.10), and secrets that only the holder of a decryption key can read (Part 1, B.10 and C.6).</summary>
public static class TpmKdf
{
    /// <summary>The label of a credential's seed (Part 1, 24.4).</summary>
    public const string Identity = "IDENTITY";

    /// <summary>The label of a duplicated object's seed (Part 1, 23.3).</summary>
    public const string Duplicate = "DUPLICATE";

    /// <summary>The label of a session's salt (Part 1, 19.6.13).</summary>
    public const string Secret = "SECRET";

    /// <summary>KDFa: SP 800-108 in counter mode.</summary>
    /// <param name="bits">How much is wanted; a multiple of 8.</param>
    public static byte[] KdfA(
        TpmAlgorithm hash, ReadOnlySpan<byte> key, string label, ReadOnlySpan<byte> contextU, ReadOnlySpan<byte> contextV, int bits)
    {
        var output = new byte[bits / 8];
        Span<byte> counter = stackalloc byte[sizeof(uint)];
        Span<byte> size = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32BigEndian(size, (uint)bits);
        for (var (offset, i) = (0, 1u); offset < output.Length; i++)
        {
            BinaryPrimitives.WriteUInt32BigEndian(counter, i);
            var block = CryptographicOperations.HmacData(hash.HashName(), key, [.. counter, .. Label(label), .. contextU, .. contextV, .. size]);
            var take = Math.Min(block.Length, output.Length - offset);
            block.AsSpan(0, take).CopyTo(output.AsSpan(offset));
            offset += take;
        }

        return output;
    }

    /// <summary>A fresh secret, as long as the key's name digest, and what it looks like to everybody but the holder of the key.</summary>
    /// <exception cref="CryptographicException">The key is no usable public key.</exception>
    public static (byte[] Secret, byte[] Encrypted) MakeSecret(PublicArea key, string label) => key switch
    {
        PublicArea.Rsa rsa => WrapSecret(rsa, label),
        PublicArea.Ecc ecc => AgreeOnSecret(ecc, label),
        _ => throw new System.Diagnostics.UnreachableException(),
    };

    /// <summary>AES-CFB with a zero IV, for keys that encrypt one message each.</summary>
    public static byte[] EncryptOnce(byte[] key, ReadOnlySpan<byte> plain)
    {
        using var aes = Aes.Create();
        aes.Key = key;
        return aes.EncryptCfb(plain, new byte[16], PaddingMode.Zeros, feedbackSizeInBits: 128)[..plain.Length];
    }

    // Part 1, B.10.4: OAEP with the key's name hash and the label with its terminating zero
    private static (byte[] Secret, byte[] Encrypted) WrapSecret(PublicArea.Rsa key, string label)
    {
        var secret = RandomNumberGenerator.GetBytes(key.NameAlgorithm.DigestSize());
        using var rsa = key.CreateKey();
        return (secret, OaepEncrypt(rsa, secret, key.NameAlgorithm, label));
    }

    // The runtime's OAEP has no label, so the padding is made here (RFC 8017, 7.1.1).
    private static byte[] OaepEncrypt(RSA rsa, ReadOnlySpan<byte> message, TpmAlgorithm hash, string label)
    {
        var size = rsa.KeySize / 8;
        var digestSize = hash.DigestSize();
        var block = new byte[size];
        var seed = block.AsSpan(1, digestSize);
        var data = block.AsSpan(1 + digestSize);
        CryptographicOperations.HashData(hash.HashName(), Label(label), data);
        data[^(message.Length + 1)] = 1;
        message.CopyTo(data[^message.Length..]);
        RandomNumberGenerator.Fill(seed);
        Mask(hash, seed, data);
        Mask(hash, data, seed);

        var parameters = rsa.ExportParameters(includePrivateParameters: false);
        var power = BigInteger.ModPow(Number(block), Number(parameters.Exponent!), Number(parameters.Modulus!));
        var encrypted = new byte[size];
        var bytes = power.ToByteArray(isUnsigned: true, isBigEndian: true);
        bytes.CopyTo(encrypted, size - bytes.Length);
        return encrypted;

        static BigInteger Number(ReadOnlySpan<byte> value) => new(value, isUnsigned: true, isBigEndian: true);
    }

    // MGF1 (RFC 8017, B.2.1)
    private static void Mask(TpmAlgorithm hash, ReadOnlySpan<byte> seed, Span<byte> target)
    {
        Span<byte> counter = stackalloc byte[sizeof(uint)];
        var offset = 0;
        for (var i = 0u; offset < target.Length; i++)
        {
            BinaryPrimitives.WriteUInt32BigEndian(counter, i);
            foreach (var b in CryptographicOperations.HashData(hash.HashName(), [.. seed, .. counter]))
            {
                if (offset == target.Length)
                    return;
                target[offset++] ^= b;
            }
        }
    }

    // Part 1, C.6.4: one-pass Diffie-Hellman with an ephemeral key, then KDFe
    private static (byte[] Secret, byte[] Encrypted) AgreeOnSecret(PublicArea.Ecc key, string label)
    {
        var parameters = key.ToParameters();
        using var theirs = ECDiffieHellman.Create(parameters);
        using var ephemeral = ECDiffieHellman.Create(parameters.Curve);
        var shared = ephemeral.DeriveRawSecretAgreement(theirs.PublicKey);
        var point = ephemeral.ExportParameters(includePrivateParameters: false).Q;

        var encoded = new ArrayBufferWriter<byte>();
        var writer = new TpmWriter(encoded);
        writer.WriteSized(point.X);
        writer.WriteSized(point.Y);
        return (KdfE(key.NameAlgorithm, shared, label, point.X!, parameters.Q.X!), encoded.WrittenSpan.ToArray());
    }

    // Part 1, 11.4.10.3 (KDFe), for one block: the digest's own size
    private static byte[] KdfE(TpmAlgorithm hash, ReadOnlySpan<byte> shared, string label, ReadOnlySpan<byte> partyU, ReadOnlySpan<byte> partyV) =>
        CryptographicOperations.HashData(hash.HashName(), [0, 0, 0, 1, .. shared, .. Label(label), .. partyU, .. partyV]);

    private static byte[] Label(string label) => Encoding.ASCII.GetBytes(label + '\0');
}
