namespace Keylime.Tpm.Commands;

/// <summary>A primary key: its transient handle, what it became, its name.</summary>
internal sealed record Primary(uint Handle, PublicArea Public, byte[] Name);

/// <summary>What TPM2_Create and TPM2_CreatePrimary share: no authorization value, no sensitive data, no creation PCRs.</summary>
internal static class Creation
{
    private const ushort CreationTicket = 0x8021; // TPM_ST_CREATION, Part 2, 6.9

    public static void WriteInputs(TpmWriter writer, PublicArea template)
    {
        // TPM2B_SENSITIVE_CREATE: an empty userAuth and empty data
        writer.WriteSized([0, 0, 0, 0]);
        writer.WriteSized(template.Encode());
        writer.WriteSized([]);     // outsideInfo
        writer.WriteUInt32(0);     // creationPCR
    }

    public static PublicArea ReadPublic(ref TpmReader reader)
    {
        var inner = reader.ReadSizedStructure();
        var area = PublicArea.Read(ref inner);
        inner.ExpectEnd();
        return area;
    }

    public static void SkipEvidence(ref TpmReader reader)
    {
        _ = reader.ReadSized(); // creationData
        _ = reader.ReadSized(TpmAlgorithms.MaxDigestSize, "creationHash");
        SkipTicket(ref reader, CreationTicket);
    }

    /// <summary>A TPMT_TK (Part 2, 10.7): tag, hierarchy, digest. It is for the TPM to check, and nobody shows it one.</summary>
    public static void SkipTicket(ref TpmReader reader, ushort tag)
    {
        reader.Expect(tag, "ticket tag");
        _ = reader.ReadUInt32();
        _ = reader.ReadSized(TpmAlgorithms.MaxDigestSize, "ticket digest");
    }

    public static byte[] ReadName(ref TpmReader reader) => reader.ReadSized(AttestStatement.MaxName, "name").ToArray();
}

/// <summary>TPM2_CreatePrimary (Part 3, 24.1).</summary>
internal readonly record struct CreatePrimary(uint Hierarchy, PublicArea Template) : ITpmCommand<Primary>
{
    public static string Name => "TPM2_CreatePrimary";

    public static uint Code => 0x00000131;

    public static bool ReturnsHandle => true;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32(Hierarchy);

    public void WriteParameters(TpmWriter writer) => Creation.WriteInputs(writer, Template);

    public static Primary ReadResponse(uint handle, ref TpmReader parameters)
    {
        var area = Creation.ReadPublic(ref parameters);
        Creation.SkipEvidence(ref parameters);
        return new Primary(handle, area, Creation.ReadName(ref parameters));
    }
}

/// <summary>TPM2_Create (Part 3, 12.1).</summary>
internal readonly record struct Create(uint Parent, PublicArea Template) : ITpmCommand<(byte[] Private, PublicArea Public)>
{
    public static string Name => "TPM2_Create";

    public static uint Code => 0x00000153;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32(Parent);

    public void WriteParameters(TpmWriter writer) => Creation.WriteInputs(writer, Template);

    public static (byte[] Private, PublicArea Public) ReadResponse(uint handle, ref TpmReader parameters)
    {
        var @private = parameters.ReadSized().ToArray();
        var area = Creation.ReadPublic(ref parameters);
        Creation.SkipEvidence(ref parameters);
        return (@private, area);
    }
}

/// <summary>TPM2_Load (Part 3, 12.2).</summary>
internal readonly record struct Load(uint Parent, ReadOnlyMemory<byte> Private, ReadOnlyMemory<byte> Public) : ITpmCommand<(uint Handle, byte[] Name)>
{
    public static string Name => "TPM2_Load";

    public static uint Code => 0x00000157;

    public static bool ReturnsHandle => true;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32(Parent);

    public void WriteParameters(TpmWriter writer)
    {
        writer.WriteSized(Private.Span);
        writer.WriteSized(Public.Span);
    }

    public static (uint Handle, byte[] Name) ReadResponse(uint handle, ref TpmReader parameters) =>
        (handle, Creation.ReadName(ref parameters));
}

/// <summary>TPM2_ReadPublic (Part 3, 12.4).</summary>
internal readonly record struct ReadPublic(uint Object) : ITpmCommand<(PublicArea Public, byte[] Name)>
{
    public static string Name => "TPM2_ReadPublic";

    public static uint Code => 0x00000173;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32(Object);

    public void WriteParameters(TpmWriter writer)
    {
    }

    public static (PublicArea Public, byte[] Name) ReadResponse(uint handle, ref TpmReader parameters)
    {
        var area = Creation.ReadPublic(ref parameters);
        var name = Creation.ReadName(ref parameters);
        _ = Creation.ReadName(ref parameters); // qualifiedName
        return (area, name);
    }
}

/// <summary>TPM2_FlushContext (Part 3, 28.4); its handle is a parameter.</summary>
internal readonly record struct FlushContext(uint Handle) : ITpmCommand<None>
{
    public static string Name => "TPM2_FlushContext";

    public static uint Code => 0x00000165;

    public void WriteParameters(TpmWriter writer) => writer.WriteUInt32(Handle);

    public static None ReadResponse(uint handle, ref TpmReader parameters) => default;
}
