namespace Keylime.Tpm;

/// <summary>A response code as a TPM gives it (Part 2, 6.6.2): what is wrong, and with which handle, session or parameter.</summary>
public readonly record struct TpmResponseCode(uint Value)
{
    private const uint FormatOne = 0x080;     // F: bit 7
    private const uint FormatOneMask = 0x0BF; // F and the 6 bits of the error
    private const uint IsParameter = 0x040;   // P: bit 6
    private const uint IsSession = 0x800;     // the high bit of N, where P is clear
    private const uint Vendor = 0x400;        // T: bit 10, in format zero
    private const uint TpmMask = 0xFFF;       // above are the bits by which software says that it, and no TPM, answers

    public bool IsSuccess => Value == 0;

    private uint TpmPart => Value & TpmMask;

    private bool HasFormatOne => (Value & FormatOne) != 0;

    private bool IsVendor => !HasFormatOne && (Value & Vendor) != 0;

    /// <summary>What is wrong, whichever handle, session or parameter it is about.</summary>
    public TpmError Error => (TpmError)(HasFormatOne ? TpmPart & FormatOneMask : TpmPart);

    /// <summary>The same command may succeed when it is sent again, unchanged (Part 2, 6.6.3).</summary>
    public bool IsTransient => Error is TpmError.Retry or TpmError.Yielded or TpmError.Testing;

    /// <summary>TPM_RC_INITIALIZE: TPM2_Startup has not been sent, or has been already.</summary>
    public bool IsInitialize => Error == TpmError.Initialize;

    /// <summary>There is nothing at the handle, whichever it is: TPM_RC_HANDLE, or a warning that it is not loaded.</summary>
    public bool IsHandle => Error is TpmError.Handle or (>= TpmError.ReferenceHandle0 and <= TpmError.ReferenceHandle6);

    /// <summary>For a person to read: the code's name, what it is about, what it means.</summary>
    public string Describe()
    {
        var layer = Value >> 16;
        var who = layer == 0 ? "" : $", said by software (layer {layer}) and not by the TPM";
        if (IsVendor)
            return $"a code of the TPM's maker{who}";

        var (name, meaning) = TpmErrors.Explain(Error);
        return $"TPM_RC_{name}{About()}: {meaning}{who}";
    }

    public override string ToString() => $"0x{Value:x3} ({Describe()})";

    private string About()
    {
        if (!HasFormatOne)
            return "";

        var number = TpmPart >> 8;
        if ((Value & IsParameter) != 0)
            return number == 0 ? " (a parameter)" : $" (parameter {number})";
        if ((Value & IsSession) != 0)
            return (number & 7) == 0 ? " (a session)" : $" (session {number & 7})";
        return number == 0 ? "" : $" (handle {number})";
    }
}
