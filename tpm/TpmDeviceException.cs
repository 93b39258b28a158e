namespace Keylime.Tpm;

/// <summary>The TPM cannot be reached, or does not answer as a TPM does.</summary>
public sealed class TpmDeviceException : IOException
{
    public TpmDeviceException(string message) : base(message)
    {
    }

    public TpmDeviceException(string message, Exception cause) : base(message, cause)
    {
    }
}
