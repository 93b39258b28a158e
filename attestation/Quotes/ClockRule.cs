using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>What a TPM's clock says has happened since the last authenticated quote.</summary>
public enum ClockChange
{
    /// <summary>There was no quote before.</summary>
    First,

    /// <summary>The TPM has run on.</summary>
    Continued,

    /// <summary>It was suspended or hibernated, and resumed (TPM Restart or TPM Resume).</summary>
    Resumed,

    /// <summary>It was reset: the machine booted anew.</summary>
    Rebooted,
}

/// <summary>Compares two clocks of one TPM (Part 1, 36).</summary>
public static class ClockRule
{
    /// <summary>
    /// resetCount only grows; within one resetCount restartCount only grows; within one pair of them the clock never goes back.
    /// </summary>
    /// <remarks>
    /// A reset sets restartCount to 0, so the two are compared in this order and not each for itself: a machine that slept and then
    /// rebooted is honest. <c>safe</c> says only whether the clock may repeat a value of <em>before</em> a power cut, where resetCount has
    /// grown anyway; it is recorded, and no reason to object: a machine must be able to attest after a power cut.
    /// </remarks>
    public static (ClockChange Change, Finding? Finding) Compare(ClockInfo? last, ClockInfo now)
    {
        if (last is not { } before)
            return (ClockChange.First, null);

        if (now.ResetCount != before.ResetCount)
        {
            return now.ResetCount > before.ResetCount
                ? (ClockChange.Rebooted, null)
                : (ClockChange.Rebooted, new Finding(QuoteResetWentBack, $"resetCount went from {before.ResetCount} back to {now.ResetCount}: another TPM, or an old state of this one."));
        }

        if (now.RestartCount < before.RestartCount)
            return (ClockChange.Resumed, new Finding(QuoteResetWentBack, $"restartCount went from {before.RestartCount} back to {now.RestartCount} without a reset."));

        var change = now.RestartCount > before.RestartCount ? ClockChange.Resumed : ClockChange.Continued;
        return now.Milliseconds < before.Milliseconds
            ? (change, new Finding(QuoteClockWentBack, $"The TPM's clock went from {before.Milliseconds} ms back to {now.Milliseconds} ms without a reset."))
            : (change, null);
    }
}
