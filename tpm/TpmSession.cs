using System.Security.Cryptography;

namespace Keylime.Tpm;

/// <summary>
/// A salted HMAC session (Part 1, 19.6): it authenticates a command and its answer, and hides the first parameter of either, from whoever listens
/// between the processor and the TPM. The salt is for a key of the TPM alone, so who only listens never knows the session's key.
/// </summary>
public sealed class TpmSession
{
    private const byte ContinueSession = 0x01;
    private const byte Decrypt = 0x20; // the TPM decrypts the command's first parameter
    private const byte Encrypt = 0x40; // the TPM encrypts the response's first parameter

    private readonly TpmAlgorithm _hash;
    private readonly byte[] _key;
    private byte[] _nonceCaller;
    private byte[] _nonceTpm;

    internal TpmSession(uint handle, TpmAlgorithm hash, ReadOnlySpan<byte> salt, byte[] nonceCaller, byte[] nonceTpm)
    {
        (Handle, _hash, _nonceCaller, _nonceTpm) = (handle, hash, nonceCaller, nonceTpm);
        _key = TpmKdf.KdfA(hash, salt, "ATH", nonceTpm, nonceCaller, hash.DigestSize() * 8); // Part 1, 19.6.8
    }

    public uint Handle { get; }

    internal static byte AttributesOf(bool hideRequest, bool hideResponse) =>
        (byte)(ContinueSession | (hideRequest ? Decrypt : 0) | (hideResponse ? Encrypt : 0));

    /// <summary>Prepares the next command: a fresh nonce, and its first parameter hidden if that is wanted.</summary>
    internal void Begin(Span<byte> parameters, bool hideRequest)
    {
        _nonceCaller = RandomNumberGenerator.GetBytes(_hash.DigestSize());
        if (hideRequest)
            Crypt(FirstParameter(parameters), _nonceCaller, _nonceTpm, encrypt: true);
    }

    /// <summary>The session's entry in the authorization area (TPMS_AUTH_COMMAND).</summary>
    internal void Write(TpmWriter writer, ReadOnlySpan<byte> commandHash, byte attributes)
    {
        writer.WriteUInt32(Handle);
        writer.WriteSized(_nonceCaller);
        writer.WriteUInt8(attributes);
        writer.WriteSized(CryptographicOperations.HmacData(_hash.HashName(), _key, (byte[])[.. commandHash, .. _nonceCaller, .. _nonceTpm, attributes]));
    }

    /// <summary>Checks the session's entry in the answer, and uncovers the first parameter if it is hidden.</summary>
    /// <exception cref="TpmFormatException">The answer is not the TPM's.</exception>
    internal void End(ref TpmReader reader, ReadOnlySpan<byte> responseHash, Span<byte> parameters, bool hideResponse)
    {
        var at = reader.Position;
        var nonce = reader.ReadSized(TpmAlgorithms.MaxDigestSize, "nonceTPM").ToArray();
        var attributes = reader.ReadUInt8();
        var hmac = reader.ReadSized(TpmAlgorithms.MaxDigestSize, "hmac");
        var expected = CryptographicOperations.HmacData(_hash.HashName(), _key, (byte[])[.. responseHash, .. nonce, .. _nonceCaller, attributes]);
        if (!CryptographicOperations.FixedTimeEquals(expected, hmac))
            throw new TpmFormatException("an answer that was altered on its way from the TPM", at);

        _nonceTpm = nonce;
        if (hideResponse)
            Crypt(FirstParameter(parameters), _nonceTpm, _nonceCaller, encrypt: false);
    }

    internal byte[] Hash(ReadOnlySpan<byte> data) => CryptographicOperations.HashData(_hash.HashName(), data);

    // Part 1, 21.3: AES-128 in CFB mode, key and IV of the two nonces; the size in front stays as it is
    private void Crypt(Span<byte> data, ReadOnlySpan<byte> newer, ReadOnlySpan<byte> older, bool encrypt)
    {
        const int keySize = 16;
        const int blockSize = 16;
        var derived = TpmKdf.KdfA(_hash, _key, "CFB", newer, older, (keySize + blockSize) * 8);
        using var aes = Aes.Create();
        aes.Key = derived[..keySize];
        var padded = new byte[(data.Length + blockSize - 1) / blockSize * blockSize];
        data.CopyTo(padded);
        var result = encrypt
            ? aes.EncryptCfb(padded, derived.AsSpan(keySize), PaddingMode.None, feedbackSizeInBits: 128)
            : aes.DecryptCfb(padded, derived.AsSpan(keySize), PaddingMode.None, feedbackSizeInBits: 128);
        result.AsSpan(0, data.Length).CopyTo(data);
    }

    private static Span<byte> FirstParameter(Span<byte> parameters)
    {
        var size = new TpmReader(parameters).ReadSized().Length;
        return parameters.Slice(sizeof(ushort), size);
    }
}
