namespace Keylime.Tpm.Commands;

/// <summary>TPM2_Create (Part 3, 12.1) of data that is sealed; the data is the first parameter, so a session may hide it.</summary>
internal readonly record struct CreateSealed(uint Parent, SealedArea Template, ReadOnlyMemory<byte> Data) : ITpmCommand<(byte[] Private, byte[] Public)>
{
    public static string Name => "TPM2_Create";

    public static uint Code => 0x00000153;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32(Parent);

    public void WriteParameters(TpmWriter writer)
    {
        // TPM2B_SENSITIVE_CREATE: an empty userAuth, and the data
        writer.WriteUInt16((ushort)(sizeof(ushort) + sizeof(ushort) + Data.Length));
        writer.WriteSized([]);
        writer.WriteSized(Data.Span);
        writer.WriteSized(Template.Encode());
        writer.WriteSized([]); // outsideInfo
        writer.WriteUInt32(0); // creationPCR
    }

    public static (byte[] Private, byte[] Public) ReadResponse(uint handle, ref TpmReader parameters)
    {
        var @private = parameters.ReadSized().ToArray();
        var area = parameters.ReadSized().ToArray();
        Creation.SkipEvidence(ref parameters);
        return (@private, area);
    }
}

/// <summary>TPM2_LoadExternal (Part 3, 12.3) of a public area alone.</summary>
internal readonly record struct LoadExternal(ReadOnlyMemory<byte> Public, uint Hierarchy) : ITpmCommand<(uint Handle, byte[] Name)>
{
    public static string Name => "TPM2_LoadExternal";

    public static uint Code => 0x00000167;

    public static bool ReturnsHandle => true;

    public void WriteParameters(TpmWriter writer)
    {
        writer.WriteSized([]); // inPrivate: none
        writer.WriteSized(Public.Span);
        writer.WriteUInt32(Hierarchy);
    }

    public static (uint Handle, byte[] Name) ReadResponse(uint handle, ref TpmReader parameters) => (handle, Creation.ReadName(ref parameters));
}

/// <summary>TPM2_Unseal (Part 3, 12.7).</summary>
internal readonly record struct Unseal(uint Item) : ITpmCommand<byte[]>
{
    private const int MaxData = 256; // MAX_SYM_DATA is 128 at least

    public static string Name => "TPM2_Unseal";

    public static uint Code => 0x0000015E;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32(Item);

    public void WriteParameters(TpmWriter writer)
    {
    }

    public static byte[] ReadResponse(uint handle, ref TpmReader parameters) => parameters.ReadSized(MaxData, "outData").ToArray();
}

/// <summary>TPM2_MakeCredential (Part 3, 12.6): what <c>Credential.Make</c> does outside.</summary>
internal readonly record struct MakeCredential(uint Key, ReadOnlyMemory<byte> Secret, ReadOnlyMemory<byte> ObjectName) : ITpmCommand<CredentialBlob>
{
    private const int MaxObject = 512;

    public static string Name => "TPM2_MakeCredential";

    public static uint Code => 0x00000168;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32(Key);

    public void WriteParameters(TpmWriter writer)
    {
        writer.WriteSized(Secret.Span);
        writer.WriteSized(ObjectName.Span);
    }

    public static CredentialBlob ReadResponse(uint handle, ref TpmReader parameters) =>
        new(parameters.ReadSized(MaxObject, "credentialBlob").ToArray(), parameters.ReadSized(MaxObject, "secret").ToArray());
}

/// <summary>TPM2_Import (Part 3, 13.3) of an object with an outer wrapper and no inner one.</summary>
internal readonly record struct Import(uint Parent, ReadOnlyMemory<byte> Public, ReadOnlyMemory<byte> Duplicate, ReadOnlyMemory<byte> Seed) : ITpmCommand<byte[]>
{
    public static string Name => "TPM2_Import";

    public static uint Code => 0x00000156;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32(Parent);

    public void WriteParameters(TpmWriter writer)
    {
        writer.WriteSized([]); // encryptionKey
        writer.WriteSized(Public.Span);
        writer.WriteSized(Duplicate.Span);
        writer.WriteSized(Seed.Span);
        writer.WriteUInt16((ushort)TpmAlgorithm.Null); // symmetricAlg: no inner wrapper
    }

    public static byte[] ReadResponse(uint handle, ref TpmReader parameters) => parameters.ReadSized().ToArray();
}

/// <summary>TPM2_RSA_Decrypt (Part 3, 14.3), OAEP with a hash.</summary>
internal readonly record struct RsaDecrypt(uint Key, ReadOnlyMemory<byte> CipherText, TpmAlgorithm Hash, ReadOnlyMemory<byte> Label) : ITpmCommand<byte[]>
{
    private const int MaxMessage = 512;

    public static string Name => "TPM2_RSA_Decrypt";

    public static uint Code => 0x00000159;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32(Key);

    public void WriteParameters(TpmWriter writer)
    {
        writer.WriteSized(CipherText.Span);
        new KeyScheme(TpmAlgorithm.Oaep, Hash).Write(writer);
        writer.WriteSized(Label.Span);
    }

    public static byte[] ReadResponse(uint handle, ref TpmReader parameters) => parameters.ReadSized(MaxMessage, "message").ToArray();
}

/// <summary>TPM2_EvictControl (Part 3, 28.5): makes a loaded object persistent, or a persistent one none.</summary>
internal readonly record struct EvictControl(uint Hierarchy, uint Object, uint Persistent) : ITpmCommand<None>
{
    public static string Name => "TPM2_EvictControl";

    public static uint Code => 0x00000120;

    public void WriteHandles(TpmWriter writer)
    {
        writer.WriteUInt32(Hierarchy);
        writer.WriteUInt32(Object);
    }

    public void WriteParameters(TpmWriter writer) => writer.WriteUInt32(Persistent);

    public static None ReadResponse(uint handle, ref TpmReader parameters) => default;
}

/// <summary>TPM2_ContextSave (Part 3, 28.2); its handle is in the handle area, without authorization.</summary>
internal readonly record struct ContextSave(uint Saved) : ITpmCommand<byte[]>
{
    public static string Name => "TPM2_ContextSave";

    public static uint Code => 0x00000162;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32(Saved);

    public void WriteParameters(TpmWriter writer)
    {
    }

    /// <summary>TPMS_CONTEXT: it goes back as it came.</summary>
    public static byte[] ReadResponse(uint handle, ref TpmReader parameters) => parameters.ReadRest().ToArray();
}

/// <summary>TPM2_ContextLoad (Part 3, 28.3).</summary>
internal readonly record struct ContextLoad(ReadOnlyMemory<byte> Context) : ITpmCommand<uint>
{
    public static string Name => "TPM2_ContextLoad";

    public static uint Code => 0x00000161;

    public static bool ReturnsHandle => true;

    public void WriteParameters(TpmWriter writer) => writer.WriteBytes(Context.Span);

    public static uint ReadResponse(uint handle, ref TpmReader parameters) => handle;
}

/// <summary>TPM2_PolicyPCR (Part 3, 23.7).</summary>
/// <param name="Digest">Of the values wanted; empty for those that the PCRs have now.</param>
internal readonly record struct PolicyPcr(uint Session, ReadOnlyMemory<byte> Digest, PcrSelection Selection) : ITpmCommand<None>
{
    public static string Name => "TPM2_PolicyPCR";

    public static uint Code => 0x0000017F;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32(Session);

    public void WriteParameters(TpmWriter writer)
    {
        writer.WriteSized(Digest.Span);
        PcrSelection.WriteList(writer, Selection);
    }

    public static None ReadResponse(uint handle, ref TpmReader parameters) => default;
}

/// <summary>TPM2_PolicyGetDigest (Part 3, 23.14).</summary>
internal readonly record struct PolicyGetDigest(uint Session) : ITpmCommand<byte[]>
{
    public static string Name => "TPM2_PolicyGetDigest";

    public static uint Code => 0x00000189;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32(Session);

    public void WriteParameters(TpmWriter writer)
    {
    }

    public static byte[] ReadResponse(uint handle, ref TpmReader parameters) => parameters.ReadSized(TpmAlgorithms.MaxDigestSize, "policyDigest").ToArray();
}

/// <summary>TPM2_SelfTest (Part 3, 10.2).</summary>
internal readonly record struct SelfTest(bool Full) : ITpmCommand<None>
{
    public static string Name => "TPM2_SelfTest";

    public static uint Code => 0x00000143;

    public void WriteParameters(TpmWriter writer) => writer.WriteUInt8(Full ? (byte)1 : (byte)0);

    public static None ReadResponse(uint handle, ref TpmReader parameters) => default;
}
