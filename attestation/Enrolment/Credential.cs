using System.Buffers;
using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>
/// TPM2_MakeCredential, done outside a TPM (Part 1, 24): a secret that only a TPM can open which holds both the endorsement key
/// and an attestation key of this name.
/// </summary>
public static class Credential
{
    private const string SeedLabel = "IDENTITY";

    /// <param name="endorsementKey">A restricted decryption key, RSA or ECC.</param>
    /// <param name="secret">At most as long as the endorsement key's name digest.</param>
    /// <exception cref="ArgumentException">The key cannot wrap a credential, or the secret is too long.</exception>
    /// <exception cref="CryptographicException">The key is no usable public key.</exception>
    public static CredentialBlob Make(PublicArea endorsementKey, ReadOnlySpan<byte> attestationKeyName, ReadOnlySpan<byte> secret)
    {
        ArgumentNullException.ThrowIfNull(endorsementKey);
        if (EndorsementKeys.Objection(endorsementKey) is { } objection)
            throw new ArgumentException(objection.Detail, nameof(endorsementKey));

        var hash = endorsementKey.NameAlgorithm;
        ArgumentOutOfRangeException.ThrowIfGreaterThan(secret.Length, hash.DigestSize());

        var (seed, encryptedSeed) = endorsementKey switch
        {
            PublicArea.Rsa rsa => WrapSeed(rsa),
            PublicArea.Ecc ecc => AgreeOnSeed(ecc),
            _ => throw new System.Diagnostics.UnreachableException(),
        };

        // Part 1, 24.4: encrypt the sized secret, then authenticate what came out together with the name
        var symmetricKey = KdfA(hash, seed, "STORAGE", attestationKeyName, endorsementKey.Symmetric.KeyBits);
        var identity = Encrypt(symmetricKey, secret);
        var macKey = KdfA(hash, seed, "INTEGRITY", [], hash.DigestSize() * 8);
        var mac = Mac(hash, macKey, identity, attestationKeyName);

        var idObject = new ArrayBufferWriter<byte>();
        var writer = new TpmWriter(idObject);
        writer.WriteSized(mac);
        writer.WriteBytes(identity);
        return new CredentialBlob(idObject.WrittenMemory, encryptedSeed);
    }

    // Part 1, B.10.3: OAEP with the key's name hash, label IDENTITY with its terminating zero
    private static (byte[] Seed, byte[] Encrypted) WrapSeed(PublicArea.Rsa key)
    {
        var seed = RandomNumberGenerator.GetBytes(key.NameAlgorithm.DigestSize());
        using var rsa = key.CreateKey();
        return (seed, OaepEncrypt(rsa, seed, key.NameAlgorithm));
    }

    // The runtime's OAEP has no label, so the padding is made here (RFC 8017, 7.1.1) and the runtime does the arithmetic.
    private static byte[] OaepEncrypt(RSA rsa, ReadOnlySpan<byte> message, TpmAlgorithm hash)
    {
        var size = rsa.KeySize / 8;
        var digestSize = hash.DigestSize();
        var block = new byte[size];
        var seed = block.AsSpan(1, digestSize);
        var data = block.AsSpan(1 + digestSize);
        CryptographicOperations.HashData(hash.HashName(), Encoding.ASCII.GetBytes(SeedLabel + '\0'), data);
        data[^(message.Length + 1)] = 1;
        message.CopyTo(data[^message.Length..]);
        RandomNumberGenerator.Fill(seed);
        Mask(hash, seed, data);
        Mask(hash, data, seed);

        var parameters = rsa.ExportParameters(includePrivateParameters: false);
        var power = System.Numerics.BigInteger.ModPow(Number(block), Number(parameters.Exponent!), Number(parameters.Modulus!));
        var encrypted = new byte[size];
        var bytes = power.ToByteArray(isUnsigned: true, isBigEndian: true);
        bytes.CopyTo(encrypted, size - bytes.Length);
        return encrypted;

        static System.Numerics.BigInteger Number(ReadOnlySpan<byte> value) => new(value, isUnsigned: true, isBigEndian: true);
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
    private static (byte[] Seed, byte[] Encrypted) AgreeOnSeed(PublicArea.Ecc key)
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
        return (KdfE(key.NameAlgorithm, shared, point.X!, parameters.Q.X!), encoded.WrittenSpan.ToArray());
    }

    // Part 1, 11.4.10.3 (KDFe), for one block: the digest's own size
    private static byte[] KdfE(TpmAlgorithm hash, ReadOnlySpan<byte> shared, ReadOnlySpan<byte> partyU, ReadOnlySpan<byte> partyV) =>
        CryptographicOperations.HashData(
            hash.HashName(), [0, 0, 0, 1, .. shared, .. Encoding.ASCII.GetBytes(SeedLabel + '\0'), .. partyU, .. partyV]);

    // Part 1, 11.4.10.2 (KDFa): SP 800-108 in counter mode; one block is enough for what is asked of it here
    private static byte[] KdfA(TpmAlgorithm hash, ReadOnlySpan<byte> key, string label, ReadOnlySpan<byte> context, int bits)
    {
        Span<byte> size = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32BigEndian(size, (uint)bits);
        var block = CryptographicOperations.HmacData(
            hash.HashName(), key, [0, 0, 0, 1, .. Encoding.ASCII.GetBytes(label + '\0'), .. context, .. size]);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bits, block.Length * 8);
        return block[..(bits / 8)];
    }

    // Part 1, 24.4: AES-CFB over TPM2B_DIGEST, zero IV; each key encrypts one message
    private static byte[] Encrypt(byte[] key, ReadOnlySpan<byte> secret)
    {
        var plain = new ArrayBufferWriter<byte>();
        new TpmWriter(plain).WriteSized(secret);
        using var aes = Aes.Create();
        aes.Key = key;
        var padded = aes.EncryptCfb(plain.WrittenSpan, new byte[16], PaddingMode.Zeros, feedbackSizeInBits: 128);
        return padded[..plain.WrittenCount];
    }

    private static byte[] Mac(TpmAlgorithm hash, byte[] key, ReadOnlySpan<byte> identity, ReadOnlySpan<byte> name) =>
        CryptographicOperations.HmacData(hash.HashName(), key.AsSpan(), [.. identity, .. name]);
}
