namespace Keylime.Attestation;

/// <param name="Next">The step behind it.</param>
/// <param name="Other">Of a fork the other one.</param>
internal readonly record struct LinearStep(LinearOperation Operation, int Next = 0, int Other = 0)
{
    public CharSet? Set { get; init; }

    public PatternPlace Place { get; init; }
}

internal enum LinearOperation : byte
{
    /// <summary>Goes two ways, which may be one.</summary>
    Fork,

    /// <summary>Takes a character of a set.</summary>
    Take,

    /// <summary>Goes on where a place is what it should be.</summary>
    Check,

    Match,
}
