using System.Buffers;

namespace Keylime.Tpm;

/// <summary>
/// What TPM2_MakeCredential makes, in the file format of tpm2-tools, which Keylime's registrar sends:
/// magic, version, TPM2B_ID_OBJECT (Part 2, 12.4.3), TPM2B_ENCRYPTED_SECRET (Part 2, 11.4.33).
/// </summary>
/// <param name="IdObject">The contents of the TPM2B_ID_OBJECT: integrity HMAC and encrypted credential.</param>
/// <param name="EncryptedSecret">The contents of the TPM2B_ENCRYPTED_SECRET: the seed, for the endorsement key.</param>
public sealed record CredentialBlob(ReadOnlyMemory<byte> IdObject, ReadOnlyMemory<byte> EncryptedSecret)
{
    private const uint Magic = 0xBADCC0DE;
    private const uint Version = 1;
    private const int MaxIdObject = 2 + TpmAlgorithms.MaxDigestSize + 2 + TpmAlgorithms.MaxDigestSize;
    private const int MaxSecret = 512;

    /// <exception cref="TpmFormatException">The bytes are no credential.</exception>
    public static CredentialBlob Parse(ReadOnlySpan<byte> encoded)
    {
        var reader = new TpmReader(encoded);
        reader.Expect(Magic, "magic");
        reader.Expect(Version, "version");
        var idObject = reader.ReadSized(MaxIdObject, "ID_OBJECT").ToArray();
        var secret = reader.ReadSized(MaxSecret, "ENCRYPTED_SECRET").ToArray();
        reader.ExpectEnd();
        return new CredentialBlob(idObject, secret);
    }

    public byte[] Encode()
    {
        var output = new ArrayBufferWriter<byte>();
        var writer = new TpmWriter(output);
        writer.WriteUInt32(Magic);
        writer.WriteUInt32(Version);
        writer.WriteSized(IdObject.Span);
        writer.WriteSized(EncryptedSecret.Span);
        return output.WrittenSpan.ToArray();
    }
}
