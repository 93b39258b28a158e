using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>How far a measurement list has been proven, so that the next quote needs only the lines behind it.</summary>
/// <param name="Entries">Lines proven, from the list's start.</param>
/// <param name="Bank">The PCR bank that proved them.</param>
/// <param name="Aggregate">PCR 10 of that bank after those lines.</param>
/// <param name="ResetCount">Of the quote that proved them: after another reset the list starts anew.</param>
public sealed record ImaCheckpoint(long Entries, TpmAlgorithm Bank, ReadOnlyMemory<byte> Aggregate, uint ResetCount)
{
    /// <summary>What the lines so far have told that later ones are judged by.</summary>
    public ImaState State { get; init; } = ImaState.Empty;
}
