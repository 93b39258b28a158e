using System.Globalization;

namespace Keylime.Tpm;

/// <summary>The TPM understood the command and refused it.</summary>
public sealed class TpmRefusedException(string command, TpmResponseCode code)
    : Exception(string.Create(CultureInfo.InvariantCulture, $"The TPM refused {command}: {code}."))
{
    public TpmResponseCode Code { get; } = code;

    /// <summary>The command's name in Part 3, as in <c>TPM2_Quote</c>.</summary>
    public string Command { get; } = command;
}
