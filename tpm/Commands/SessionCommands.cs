namespace Keylime.Tpm.Commands;

/// <summary>TPM2_StartAuthSession (Part 3, 11.1): an HMAC session that is salted, and bound to nothing.</summary>
internal readonly record struct StartHmacSession(uint SaltKey, ReadOnlyMemory<byte> NonceCaller, ReadOnlyMemory<byte> EncryptedSalt, TpmAlgorithm Hash)
    : ITpmCommand<(uint Handle, byte[] NonceTpm)>
{
    private const uint NullHandle = 0x40000007; // TPM_RH_NULL
    private const byte HmacType = 0x00;         // TPM_SE_HMAC

    public static string Name => "TPM2_StartAuthSession";

    public static uint Code => 0x00000176;

    public static bool ReturnsHandle => true;

    public void WriteHandles(TpmWriter writer)
    {
        writer.WriteUInt32(SaltKey);
        writer.WriteUInt32(NullHandle); // bind
    }

    public void WriteParameters(TpmWriter writer)
    {
        writer.WriteSized(NonceCaller.Span);
        writer.WriteSized(EncryptedSalt.Span);
        writer.WriteUInt8(HmacType);
        SymmetricDefinition.Aes128Cfb.Write(writer);
        writer.WriteUInt16((ushort)Hash);
    }

    public static (uint Handle, byte[] NonceTpm) ReadResponse(uint handle, ref TpmReader parameters) =>
        (handle, parameters.ReadSized(TpmAlgorithms.MaxDigestSize, "nonceTPM").ToArray());
}

/// <summary>TPM2_StartAuthSession (Part 3, 11.1): a policy session, or one that only tries a policy; neither salted nor bound.</summary>
internal readonly record struct StartPolicySession(TpmAlgorithm Hash, ReadOnlyMemory<byte> NonceCaller, bool Trial) : ITpmCommand<uint>
{
    private const uint NullHandle = 0x40000007; // TPM_RH_NULL
    private const byte PolicyType = 0x01;       // TPM_SE_POLICY
    private const byte TrialType = 0x03;        // TPM_SE_TRIAL

    public static string Name => "TPM2_StartAuthSession";

    public static uint Code => 0x00000176;

    public static bool ReturnsHandle => true;

    public void WriteHandles(TpmWriter writer)
    {
        writer.WriteUInt32(NullHandle); // tpmKey
        writer.WriteUInt32(NullHandle); // bind
    }

    public void WriteParameters(TpmWriter writer)
    {
        writer.WriteSized(NonceCaller.Span);
        writer.WriteSized([]); // encryptedSalt
        writer.WriteUInt8(Trial ? TrialType : PolicyType);
        writer.WriteUInt16((ushort)TpmAlgorithm.Null); // symmetric
        writer.WriteUInt16((ushort)Hash);
    }

    public static uint ReadResponse(uint handle, ref TpmReader parameters)
    {
        _ = parameters.ReadSized(TpmAlgorithms.MaxDigestSize, "nonceTPM"); // without HMACs it is not used
        return handle;
    }
}

/// <summary>TPM2_PolicySecret (Part 3, 23.4): what the policy of every low-range endorsement key asks for.</summary>
internal readonly record struct PolicySecret(uint Authority, uint Session) : ITpmCommand<None>
{
    private const ushort AuthSecretTicket = 0x8023; // TPM_ST_AUTH_SECRET, Part 2, 6.9
    private const int MaxTimeout = 8;               // TPM2B_TIMEOUT, Part 2, 10.4.10

    public static string Name => "TPM2_PolicySecret";

    public static uint Code => 0x00000151;

    public void WriteHandles(TpmWriter writer)
    {
        writer.WriteUInt32(Authority);
        writer.WriteUInt32(Session);
    }

    public void WriteParameters(TpmWriter writer)
    {
        writer.WriteSized([]); // nonceTPM
        writer.WriteSized([]); // cpHashA
        writer.WriteSized([]); // policyRef
        writer.WriteUInt32(0); // expiration: none
    }

    public static None ReadResponse(uint handle, ref TpmReader parameters)
    {
        _ = parameters.ReadSized(MaxTimeout, "timeout");
        Creation.SkipTicket(ref parameters, AuthSecretTicket);
        return default;
    }
}

/// <summary>TPM2_ActivateCredential (Part 3, 12.5).</summary>
internal readonly record struct ActivateCredential(uint Activated, uint Key, CredentialBlob Blob) : ITpmCommand<byte[]>
{
    public static string Name => "TPM2_ActivateCredential";

    public static uint Code => 0x00000147;

    public void WriteHandles(TpmWriter writer)
    {
        writer.WriteUInt32(Activated);
        writer.WriteUInt32(Key);
    }

    public void WriteParameters(TpmWriter writer)
    {
        writer.WriteSized(Blob.IdObject.Span);
        writer.WriteSized(Blob.EncryptedSecret.Span);
    }

    public static byte[] ReadResponse(uint handle, ref TpmReader parameters) =>
        parameters.ReadSized(TpmAlgorithms.MaxDigestSize, "certInfo").ToArray();
}
