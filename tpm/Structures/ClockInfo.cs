namespace Keylime.Tpm;

/// <summary>TPMS_CLOCK_INFO (Part 2, 10.11.1).</summary>
/// <param name="Milliseconds">Time the TPM has been powered, in ms; it never goes back between two resets.</param>
/// <param name="ResetCount">TPM Resets since manufacture: one a boot.</param>
/// <param name="RestartCount">TPM Restarts and Resumes since the last reset: one a suspend or hibernation.</param>
/// <param name="IsSafe">False when the clock may repeat a value it had before a power loss.</param>
public readonly record struct ClockInfo(ulong Milliseconds, uint ResetCount, uint RestartCount, bool IsSafe)
{
    public static ClockInfo Read(ref TpmReader reader) =>
        new(reader.ReadUInt64(), reader.ReadUInt32(), reader.ReadUInt32(), reader.ReadYesNo("clockInfo.safe"));

    public void Write(TpmWriter writer)
    {
        writer.WriteUInt64(Milliseconds);
        writer.WriteUInt32(ResetCount);
        writer.WriteUInt32(RestartCount);
        writer.WriteUInt8(IsSafe ? (byte)1 : (byte)0);
    }
}
