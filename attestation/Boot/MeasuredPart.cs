namespace Keylime.Attestation;

/// <summary>Which part of an event's data its digest proves: the digest is the hash of exactly these bytes.</summary>
public enum MeasuredPart
{
    /// <summary>None: the digest is of something that the log does not hold (a program, a file, a table), and the data are only somebody's words.</summary>
    None,

    /// <summary>All of the data.</summary>
    Whole,

    /// <summary>All of the data but their last byte, which old versions of shim wrote and did not measure.</summary>
    AllButLastByte,

    /// <summary>The value of the variable, and not its name or GUID: the older form of EV_EFI_VARIABLE_BOOT.</summary>
    VariableValue,

    /// <summary>The text, and not the prefix in front of it (<c>grub_cmd: </c>). A NUL behind it may be measured or not.</summary>
    Text,

    /// <summary>The text in ASCII with a NUL, where the data are in UTF-16: systemd-stub's section names.</summary>
    AsciiText,
}
