namespace Keylime.Tpm.Commands;

/// <summary>TPM2_NV_ReadPublic (Part 3, 31.6): the size of an index's data, in bytes.</summary>
internal readonly record struct NvReadPublic(uint Index) : ITpmCommand<NvPublic>
{
    public static string Name => "TPM2_NV_ReadPublic";

    public static uint Code => 0x00000169;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32(Index);

    public void WriteParameters(TpmWriter writer)
    {
    }

    public static NvPublic ReadResponse(uint handle, ref TpmReader parameters)
    {
        var area = parameters.ReadSizedStructure();
        var index = area.ReadUInt32(); // compared with what was asked for by the client, which knows that
        _ = area.ReadUInt16(); // nameAlg
        var attributes = area.ReadUInt32();
        _ = area.ReadSized(TpmAlgorithms.MaxDigestSize, "authPolicy");
        var size = area.ReadUInt16();
        area.ExpectEnd();
        _ = parameters.ReadSized(AttestStatement.MaxName, "nvName");
        return new NvPublic(index, attributes, size);
    }
}

/// <summary>TPM2_NV_Read (Part 3, 31.13), authorized by the index itself or by the owner.</summary>
internal readonly record struct NvRead(uint Authority, uint Index, ushort Size, ushort Offset) : ITpmCommand<byte[]>
{
    public static string Name => "TPM2_NV_Read";

    public static uint Code => 0x0000014E;

    public void WriteHandles(TpmWriter writer)
    {
        writer.WriteUInt32(Authority);
        writer.WriteUInt32(Index);
    }

    public void WriteParameters(TpmWriter writer)
    {
        writer.WriteUInt16(Size);
        writer.WriteUInt16(Offset);
    }

    public static byte[] ReadResponse(uint handle, ref TpmReader parameters) => parameters.ReadSized().ToArray();
}
