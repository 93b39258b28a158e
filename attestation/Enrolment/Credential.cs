using System.Buffers;
using System.Security.Cryptography;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>
/// TPM2_MakeCredential, done outside a TPM (Part 1, 24): a secret that only a TPM can open which holds both the endorsement key
/// and an attestation key of this name.
/// </summary>
public static class Credential
{
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
        var (seed, encryptedSeed) = TpmKdf.MakeSecret(endorsementKey, TpmKdf.Identity);
        var plain = new ArrayBufferWriter<byte>();
        new TpmWriter(plain).WriteSized(secret);
        return new CredentialBlob(OuterWrap.Protect(endorsementKey, seed, attestationKeyName, plain.WrittenSpan), encryptedSeed);
    }
}

/// <summary>What protects a credential, and a duplicated object (Part 1, 24.4 and 23.3.2.3): encrypted, then authenticated together with a name.</summary>
internal static class OuterWrap
{
    /// <returns>TPM2B_DIGEST of the HMAC, and the encrypted data behind it.</returns>
    public static byte[] Protect(PublicArea parent, ReadOnlySpan<byte> seed, ReadOnlySpan<byte> name, ReadOnlySpan<byte> plain)
    {
        var hash = parent.NameAlgorithm;
        var encrypted = TpmKdf.EncryptOnce(TpmKdf.KdfA(hash, seed, "STORAGE", name, [], parent.Symmetric.KeyBits), plain);
        var macKey = TpmKdf.KdfA(hash, seed, "INTEGRITY", [], [], hash.DigestSize() * 8);
        var mac = CryptographicOperations.HmacData(hash.HashName(), macKey, (byte[])[.. encrypted, .. name]);

        var output = new ArrayBufferWriter<byte>();
        var writer = new TpmWriter(output);
        writer.WriteSized(mac);
        writer.WriteBytes(encrypted);
        return output.WrittenSpan.ToArray();
    }
}

/// <summary>An object to import: its public area, the wrapped sensitive one, and the seed for the parent's eyes.</summary>
public sealed record WrappedSecret(SealedArea Public, ReadOnlyMemory<byte> Duplicate, ReadOnlyMemory<byte> Seed);

/// <summary>Seals data to a TPM from afar: only the TPM with this endorsement key can import it, and only its policy unseals it (TPM2_Import, Part 1, 23.3).</summary>
public static class RemoteSeal
{
    /// <summary>The most data, in bytes, that every TPM takes (MAX_SYM_DATA).</summary>
    public const int MaxData = 128;

    /// <param name="policy">The digest of the policy that unseals it, by the endorsement key's name hash; never empty.</param>
    /// <exception cref="ArgumentException">The key cannot be a parent, the policy is none, or there is too much data.</exception>
    public static WrappedSecret Wrap(PublicArea endorsementKey, ReadOnlyMemory<byte> policy, ReadOnlySpan<byte> data)
    {
        ArgumentNullException.ThrowIfNull(endorsementKey);
        if (EndorsementKeys.Objection(endorsementKey) is { } objection)
            throw new ArgumentException(objection.Detail, nameof(endorsementKey));
        var hash = endorsementKey.NameAlgorithm;
        if (policy.Length != hash.DigestSize())
            throw new ArgumentException($"A policy digest of {hash.DigestSize()} bytes is expected: what nothing guards is not sealed.", nameof(policy));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(data.Length, MaxData);

        // TPMT_SENSITIVE (Part 2, 12.3.2.4): the obfuscation value binds it to the public area
        var obfuscation = RandomNumberGenerator.GetBytes(hash.DigestSize());
        var area = new SealedArea
        {
            NameAlgorithm = hash,
            Attributes = ObjectAttributes.None, // it came from outside: neither fixed nor usable with a password
            AuthPolicy = policy,
            Unique = CryptographicOperations.HashData(hash.HashName(), (byte[])[.. obfuscation, .. data]),
        };
        var sensitive = new ArrayBufferWriter<byte>();
        var writer = new TpmWriter(sensitive);
        writer.WriteUInt16((ushort)TpmAlgorithm.KeyedHash);
        writer.WriteSized([]); // authValue
        writer.WriteSized(obfuscation);
        writer.WriteSized(data);

        var plain = new ArrayBufferWriter<byte>();
        new TpmWriter(plain).WriteSized(sensitive.WrittenSpan);
        var (seed, encryptedSeed) = TpmKdf.MakeSecret(endorsementKey, TpmKdf.Duplicate);
        return new WrappedSecret(area, OuterWrap.Protect(endorsementKey, seed, area.ComputeName(), plain.WrittenSpan), encryptedSeed);
    }
}
