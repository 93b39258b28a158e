namespace Keylime.Tpm.Commands;

/// <summary>TPM2_PolicyCounterTimer (Part 3, 23.11): the policy of whoever compares TPMS_TIME_INFO with a value.</summary>
internal readonly record struct PolicyCounterTimer(uint Session, ReadOnlyMemory<byte> Operand, ushort Offset, TpmComparison Comparison) : ITpmCommand<None>
{
    public static string Name => "TPM2_PolicyCounterTimer";

    public static uint Code => 0x0000016D;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32(Session);

    public void WriteParameters(TpmWriter writer)
    {
        writer.WriteSized(Operand.Span);
        writer.WriteUInt16(Offset);
        writer.WriteUInt16((ushort)Comparison);
    }

    public static None ReadResponse(uint handle, ref TpmReader parameters) => default;
}

/// <summary>TPM2_PolicyCommandCode (Part 3, 23.12): a policy for one command.</summary>
internal readonly record struct PolicyCommandCode(uint Session, uint Command) : ITpmCommand<None>
{
    public static string Name => "TPM2_PolicyCommandCode";

    public static uint Code => 0x0000016C;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32(Session);

    public void WriteParameters(TpmWriter writer) => writer.WriteUInt32(Command);

    public static None ReadResponse(uint handle, ref TpmReader parameters) => default;
}

/// <summary>TPM2_ReadClock (Part 3, 29.1).</summary>
internal readonly record struct ReadClock : ITpmCommand<ClockInfo>
{
    public static string Name => "TPM2_ReadClock";

    public static uint Code => 0x00000181;

    public void WriteParameters(TpmWriter writer)
    {
    }

    public static ClockInfo ReadResponse(uint handle, ref TpmReader parameters)
    {
        _ = parameters.ReadUInt64(); // TPMS_TIME_INFO (Part 2, 10.11.6): time since the last start-up
        return ClockInfo.Read(ref parameters);
    }
}
