namespace Keylime.Tpm.Commands;

/// <summary>TPM_SU (Part 2, 6.10), for TPM2_Startup (Part 3, 9.3).</summary>
/// <param name="KeepState">TPM_SU_STATE: what TPM2_Shutdown(STATE) saved comes back.</param>
internal readonly record struct Startup(bool KeepState) : ITpmCommand<None>
{
    public static string Name => "TPM2_Startup";

    public static uint Code => 0x00000144;

    public void WriteParameters(TpmWriter writer) => writer.WriteUInt16(KeepState ? (ushort)1 : (ushort)0);

    public static None ReadResponse(uint handle, ref TpmReader parameters) => default;
}

/// <summary>TPM2_Shutdown (Part 3, 9.4).</summary>
internal readonly record struct Shutdown(bool KeepState) : ITpmCommand<None>
{
    public static string Name => "TPM2_Shutdown";

    public static uint Code => 0x00000145;

    public void WriteParameters(TpmWriter writer) => writer.WriteUInt16(KeepState ? (ushort)1 : (ushort)0);

    public static None ReadResponse(uint handle, ref TpmReader parameters) => default;
}

/// <summary>A response without parameters.</summary>
internal readonly record struct None;

/// <summary>TPM2_GetRandom (Part 3, 16.1).</summary>
internal readonly record struct GetRandom(ushort Count) : ITpmCommand<byte[]>
{
    public static string Name => "TPM2_GetRandom";

    public static uint Code => 0x0000017B;

    public void WriteParameters(TpmWriter writer) => writer.WriteUInt16(Count);

    public static byte[] ReadResponse(uint handle, ref TpmReader parameters) =>
        parameters.ReadSized(TpmAlgorithms.MaxDigestSize, "randomBytes").ToArray();
}
