namespace Keylime.Attestation;

/// <summary>The bytes are not the boot log, or not the event data, that they were said to be. It never leaves this library.</summary>
internal sealed class BootFormatException(string what, int position) : Exception($"{what} at byte {position}.")
{
    public int Position { get; } = position;
}
