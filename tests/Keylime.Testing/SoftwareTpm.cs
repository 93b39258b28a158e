using System.Buffers;
using System.Collections.Immutable;
using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using Keylime.Tpm;

namespace Keylime.Testing;

/// <summary>
/// A TPM in this process: the structures are real and the signatures are real, only the chip is missing. It makes what swtpm makes,
/// a thousand times as fast, and signs whatever a test wants forged.
/// </summary>
public sealed class SoftwareTpm : IDisposable
{
    private const int PcrCount = 24;

    private readonly Dictionary<TpmAlgorithm, byte[][]> _banks = [];
    private readonly bool _ownsEndorsementKey = true;
    private readonly bool _ownsAttestationKey = true;
    private readonly AsymmetricAlgorithm _ak;
    private readonly AsymmetricAlgorithm _ek;
    private readonly TpmAlgorithm _scheme;
    private readonly TpmAlgorithm _hash;
    private ClockInfo _clock = new(1_000, 1, 0, true);

    /// <param name="scheme">RSASSA or RSAPSS with an RSA 2048 key, ECDSA with a P-256 key; the endorsement key is of the same kind.</param>
    public SoftwareTpm(TpmAlgorithm scheme = TpmAlgorithm.RsaSsa, TpmAlgorithm hash = TpmAlgorithm.Sha256)
    {
        (_scheme, _hash) = (scheme, hash);
        foreach (var bank in (TpmAlgorithm[])[TpmAlgorithm.Sha1, TpmAlgorithm.Sha256, TpmAlgorithm.Sha384])
            _banks[bank] = NewBank(bank);

        if (scheme == TpmAlgorithm.Ecdsa)
        {
            var (ak, ek) = (ECDsa.Create(ECCurve.NamedCurves.nistP256), ECDiffieHellman.Create(ECCurve.NamedCurves.nistP256));
            (_ak, _ek) = (ak, ek);
            AttestationKey = WithPoint((PublicArea.Ecc)KeyTemplates.AkEccP256(hash), ak.ExportParameters(false));
            EndorsementKey = WithPoint((PublicArea.Ecc)KeyTemplates.EkEccP256, ek.ExportParameters(false));
        }
        else
        {
            var (ak, ek) = (RSA.Create(2048), RSA.Create(2048));
            (_ak, _ek) = (ak, ek);
            AttestationKey = WithModulus((PublicArea.Rsa)KeyTemplates.AkRsa2048(scheme, hash), ak.ExportParameters(false));
            EndorsementKey = WithModulus((PublicArea.Rsa)KeyTemplates.EkRsa2048, ek.ExportParameters(false));
        }
    }

    // The same TPM with another attestation key.
    private SoftwareTpm(SoftwareTpm other)
    {
        (_scheme, _hash, _banks, _clock, _ek, _ownsEndorsementKey) = (other._scheme, other._hash, other._banks, other._clock, other._ek, false);
        EndorsementKey = other.EndorsementKey;
        if (_scheme == TpmAlgorithm.Ecdsa)
        {
            var ak = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            (_ak, AttestationKey) = (ak, WithPoint((PublicArea.Ecc)KeyTemplates.AkEccP256(_hash), ak.ExportParameters(false)));
        }
        else
        {
            var ak = RSA.Create(2048);
            (_ak, AttestationKey) = (ak, WithModulus((PublicArea.Rsa)KeyTemplates.AkRsa2048(_scheme, _hash), ak.ExportParameters(false)));
        }
    }

    // Another TPM with the same keys.
    private SoftwareTpm(AsymmetricAlgorithm ak, AsymmetricAlgorithm ek, SoftwareTpm other)
    {
        (_scheme, _hash, _ak, _ek, _ownsAttestationKey, _ownsEndorsementKey) = (other._scheme, other._hash, ak, ek, false, false);
        (AttestationKey, EndorsementKey) = (other.AttestationKey, other.EndorsementKey);
        foreach (var bank in other._banks.Keys)
            _banks[bank] = NewBank(bank);
    }

    /// <summary>A TPM that has the keys of this one, and PCRs and a clock of its own: for a fleet of more machines than there is time to make keys for. Its keys end with this one.</summary>
    public SoftwareTpm Twin() => new(_ak, _ek, this);

    /// <summary>What this TPM is when its machine has lost its attestation key and made another one.</summary>
    public SoftwareTpm WithNewAttestationKey() => new(this);

    public PublicArea AttestationKey { get; }

    public PublicArea EndorsementKey { get; }

    public ulong FirmwareVersion { get; set; } = 0x2026_1124_0000_0001;

    /// <summary>What the next statement says of the clock.</summary>
    public ClockInfo Clock
    {
        get => _clock;
        set => _clock = value;
    }
    public byte[] Read(TpmAlgorithm bank, int pcr) => (byte[])_banks[bank][pcr].Clone();

    public void Set(TpmAlgorithm bank, int pcr, byte[] value) => _banks[bank][pcr] = (byte[])value.Clone();

    public void Extend(TpmAlgorithm bank, int pcr, ReadOnlySpan<byte> digest) =>
        _banks[bank][pcr] = Hash(bank, [.. _banks[bank][pcr], .. digest]);

    /// <summary>Power off and on: PCRs and the restart count start anew.</summary>
    public void Reset()
    {
        foreach (var bank in _banks.Keys.ToArray())
            _banks[bank] = NewBank(bank);
        _clock = _clock with { ResetCount = _clock.ResetCount + 1, RestartCount = 0 };
    }

    /// <summary>Suspend to memory and resume.</summary>
    public void Suspend() => _clock = _clock with { RestartCount = _clock.RestartCount + 1 };

    /// <summary>TPM2_Quote. The clock goes on a little.</summary>
    /// <returns>TPMS_ATTEST, TPMT_SIGNATURE, and the values that were quoted as an agent sends them.</returns>
    public (byte[] Message, byte[] Signature, byte[] Pcrs) Quote(ReadOnlyMemory<byte> nonce, PcrSelection selection)
    {
        var message = QuoteMessage(nonce, [selection], Digest([selection]));
        return (message, Sign(message), Values(selection).Encode());
    }

    /// <summary>A quote's TPMS_ATTEST with whatever a test wants it to say, not signed yet.</summary>
    public byte[] QuoteMessage(ReadOnlyMemory<byte> nonce, ImmutableArray<PcrSelection> selections, ReadOnlyMemory<byte> digest)
    {
        Tick();
        return QuoteStatement.Encode(QualifiedSigner(), nonce, Clock, FirmwareVersion, selections.AsSpan(), digest.Span);
    }

    /// <summary>TPM2_Certify of the attestation key by itself.</summary>
    public (byte[] Message, byte[] Signature) Certify(ReadOnlyMemory<byte> challenge) => Certify(challenge, AttestationKey.ComputeName());

    /// <summary>The same of another key's name.</summary>
    public (byte[] Message, byte[] Signature) Certify(ReadOnlyMemory<byte> challenge, byte[] name)
    {
        Tick();
        var message = CertifyStatement.Encode(QualifiedSigner(), challenge, Clock, FirmwareVersion, name, QualifiedSigner());
        return (message, Sign(message));
    }

    /// <summary>Signs any bytes with the attestation key, in its scheme: what no TPM does.</summary>
    public byte[] Sign(byte[] message)
    {
        lock (_ak) // twins have the same one
            return SignAlone(message);
    }

    private byte[] SignAlone(byte[] message)
    {
        var name = _hash.HashName();
        if (_ak is RSA rsa)
        {
            var padding = _scheme == TpmAlgorithm.RsaPss ? RSASignaturePadding.Pss : RSASignaturePadding.Pkcs1;
            return new TpmSignature.Rsa(_scheme, _hash, rsa.SignData(message, name, padding)).Encode();
        }

        var both = ((ECDsa)_ak).SignData(message, name, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
        return new TpmSignature.Ecdsa(_hash, both.AsMemory(0, both.Length / 2), both.AsMemory(both.Length / 2)).Encode();
    }

    /// <summary>The digest of the PCRs that are selected, in the hash of the key, as a quote has it (Part 1, 17.8).</summary>
    public byte[] Digest(ImmutableArray<PcrSelection> selections)
    {
        using var hash = IncrementalHash.CreateHash(_hash.HashName());
        foreach (var selection in selections)
        {
            foreach (var pcr in selection.Pcrs)
                hash.AppendData(_banks[selection.Bank][pcr]);
        }

        return hash.GetHashAndReset();
    }

    public PcrBlob Values(PcrSelection selection) =>
        PcrBlob.Create(selection, [.. selection.Pcrs.Select(pcr => (ReadOnlyMemory<byte>)_banks[selection.Bank][pcr])]);

    /// <summary>TPM2_ActivateCredential (Part 1, 24).</summary>
    /// <exception cref="CryptographicException">The credential is not for these keys, or was altered.</exception>
    public byte[] ActivateCredential(CredentialBlob credential)
    {
        var hash = EndorsementKey.NameAlgorithm;
        var plain = Unprotect(credential.IdObject.Span, credential.EncryptedSecret.Span, "IDENTITY", AttestationKey.ComputeName());
        var secret = new TpmReader(plain);
        return secret.ReadSized(hash.DigestSize(), "secret").ToArray();
    }

    /// <summary>
    /// TPM2_Import under the endorsement key, and TPM2_Unseal behind TPM2_PolicyPCR and two TPM2_PolicyCounterTimer: resetCount must be the one given, the clock less
    /// than the one given (Part 3, 23.7 and 23.10).
    /// </summary>
    /// <exception cref="CryptographicException">It is not for this TPM, was altered, or the TPM is not in the state that its policy wants.</exception>
    public byte[] Unseal(SealedArea area, ReadOnlyMemory<byte> duplicate, ReadOnlyMemory<byte> encryptedSeed, PcrSelection selection, uint resetCount, ulong clock)
    {
        var hash = area.NameAlgorithm;
        var policy = new byte[hash.DigestSize()];
        var pcrs = new ArrayBufferWriter<byte>();
        var writer = new TpmWriter(pcrs);
        writer.WriteUInt32(1);
        selection.Write(writer);
        var values = Hash(hash, [.. selection.Pcrs.SelectMany(pcr => _banks[selection.Bank][pcr])]);
        policy = Hash(hash, [.. policy, 0, 0, 1, 0x7F, .. pcrs.WrittenSpan, .. values]);
        if (Clock.ResetCount != resetCount || Clock.Milliseconds >= clock)
            throw new CryptographicException("The TPM's clock does not meet the policy.");
        var operands = new ArrayBufferWriter<byte>();
        new TpmWriter(operands).WriteUInt32(resetCount);
        policy = Hash(hash, [.. policy, 0, 0, 1, 0x6D, .. Hash(hash, [.. operands.WrittenSpan, 0, 16, 0, 0])]);
        operands.Clear();
        new TpmWriter(operands).WriteUInt64(clock);
        policy = Hash(hash, [.. policy, 0, 0, 1, 0x6D, .. Hash(hash, [.. operands.WrittenSpan, 0, 8, 0, 5])]);
        if (!policy.AsSpan().SequenceEqual(area.AuthPolicy.Span))
            throw new CryptographicException("The TPM's state does not meet the policy.");

        var sized = new TpmReader(Unprotect(duplicate.Span, encryptedSeed.Span, "DUPLICATE", area.ComputeName()));
        var sensitive = sized.ReadSizedStructure();
        sensitive.Expect((ushort)TpmAlgorithm.KeyedHash, "type");
        _ = sensitive.ReadSized(0, "authValue");
        var obfuscation = sensitive.ReadSized(hash.DigestSize(), "seedValue").ToArray();
        var data = sensitive.ReadSized(128, "data").ToArray();
        return Hash(hash, [.. obfuscation, .. data]).AsSpan().SequenceEqual(area.Unique.Span) ? data : throw new CryptographicException("The two halves do not belong together.");
    }

    // Part 1, 24.4 and 23.3.2.3: what protects a credential, and a duplicated object.
    private byte[] Unprotect(ReadOnlySpan<byte> outer, ReadOnlySpan<byte> encryptedSeed, string label, byte[] name)
    {
        var hash = EndorsementKey.NameAlgorithm;
        var seed = _ek is RSA rsa ? UnwrapSeed(rsa, encryptedSeed, label) : AgreeOnSeed((ECDiffieHellman)_ek, encryptedSeed, label);
        var reader = new TpmReader(outer);
        var mac = reader.ReadSized(hash.DigestSize(), "MAC").ToArray();
        var identity = outer[(sizeof(ushort) + mac.Length)..].ToArray();

        var macKey = Kdf(hash, seed, "INTEGRITY", [], hash.DigestSize() * 8);
        if (!CryptographicOperations.FixedTimeEquals(mac, CryptographicOperations.HmacData(hash.HashName(), macKey, (byte[])[.. identity, .. name])))
            throw new CryptographicException("It is not for these keys.");

        using var aes = Aes.Create();
        aes.Key = Kdf(hash, seed, "STORAGE", name, 128);
        var padded = new byte[(identity.Length + 15) / 16 * 16];
        identity.CopyTo(padded, 0);
        return aes.DecryptCfb(padded, new byte[16], PaddingMode.None, feedbackSizeInBits: 128)[..identity.Length];
    }

    public void Dispose()
    {
        if (_ownsAttestationKey)
            _ak.Dispose();
        if (_ownsEndorsementKey)
            _ek.Dispose();
    }

    private void Tick() => _clock = _clock with { Milliseconds = _clock.Milliseconds + 1 };

    private byte[] QualifiedSigner() => AttestationKey.ComputeName();

    // Nothing writes into a value: an extended PCR has another one.
    private static byte[][] NewBank(TpmAlgorithm bank) => [.. Enumerable.Repeat(new byte[bank.DigestSize()], PcrCount)];

    private static byte[] Hash(TpmAlgorithm hash, byte[] data) => CryptographicOperations.HashData(hash.HashName(), data);

    private static PublicArea.Rsa WithModulus(PublicArea.Rsa template, RSAParameters key) => new()
    {
        NameAlgorithm = template.NameAlgorithm,
        Attributes = template.Attributes,
        AuthPolicy = template.AuthPolicy,
        Symmetric = template.Symmetric,
        Scheme = template.Scheme,
        KeyBits = template.KeyBits,
        Exponent = template.Exponent,
        Modulus = key.Modulus,
    };

    private static PublicArea.Ecc WithPoint(PublicArea.Ecc template, ECParameters key) => new()
    {
        NameAlgorithm = template.NameAlgorithm,
        Attributes = template.Attributes,
        AuthPolicy = template.AuthPolicy,
        Symmetric = template.Symmetric,
        Scheme = template.Scheme,
        Curve = template.Curve,
        Kdf = template.Kdf,
        X = key.Q.X,
        Y = key.Q.Y,
    };

    // OAEP with a label, which the runtime's does not know (RFC 8017, 7.1.2)
    private static byte[] UnwrapSeed(RSA key, ReadOnlySpan<byte> encrypted, string label)
    {
        var parameters = key.ExportParameters(includePrivateParameters: true);
        var power = BigInteger.ModPow(Number(encrypted), Number(parameters.D), Number(parameters.Modulus)).ToByteArray(isUnsigned: true, isBigEndian: true);
        var block = new byte[key.KeySize / 8];
        power.CopyTo(block, block.Length - power.Length);

        const int size = SHA256.HashSizeInBytes;
        var (seed, data) = (block[1..(1 + size)], block[(1 + size)..]);
        Xor(seed, Mgf(data, seed.Length));
        Xor(data, Mgf(seed, data.Length));
        if (block[0] != 0 || !data.AsSpan(0, size).SequenceEqual(SHA256.HashData(Encoding.ASCII.GetBytes(label + '\0'))))
            throw new CryptographicException("The seed is not for this key.");
        var start = Array.IndexOf(data, (byte)1, size);
        return data[(start + 1)..];

        static BigInteger Number(ReadOnlySpan<byte> value) => new(value, isUnsigned: true, isBigEndian: true);
    }

    private static byte[] AgreeOnSeed(ECDiffieHellman key, ReadOnlySpan<byte> encrypted, string label)
    {
        var reader = new TpmReader(encrypted);
        var point = new ECPoint { X = reader.ReadSized(32, "x").ToArray(), Y = reader.ReadSized(32, "y").ToArray() };
        using var theirs = ECDiffieHellman.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = point });
        var shared = key.DeriveRawSecretAgreement(theirs.PublicKey);
        return SHA256.HashData([0, 0, 0, 1, .. shared, .. Encoding.ASCII.GetBytes(label + '\0'), .. point.X, .. key.ExportParameters(false).Q.X!]);
    }

    private static byte[] Kdf(TpmAlgorithm hash, byte[] key, string label, byte[] context, int bits)
    {
        var data = new ArrayBufferWriter<byte>();
        var writer = new TpmWriter(data);
        writer.WriteUInt32(1);
        writer.WriteBytes(Encoding.ASCII.GetBytes(label + '\0'));
        writer.WriteBytes(context);
        writer.WriteUInt32((uint)bits);
        return CryptographicOperations.HmacData(hash.HashName(), key, data.WrittenSpan)[..(bits / 8)];
    }

    private static byte[] Mgf(byte[] seed, int length)
    {
        var mask = new List<byte>();
        for (byte i = 0; mask.Count < length; i++)
            mask.AddRange(SHA256.HashData([.. seed, 0, 0, 0, i]));
        return [.. mask.Take(length)];
    }

    private static void Xor(Span<byte> into, ReadOnlySpan<byte> mask)
    {
        for (var i = 0; i < into.Length; i++)
            into[i] ^= mask[i];
    }
}
