namespace Keylime.Attestation;

/// <summary>Where an automaton can be at once, in front of a character; and where it can be behind it, as far as that has been worked out.</summary>
/// <param name="key">The steps, ascending; and last what is in front, as <see cref="LinearContext"/>.</param>
internal sealed class LinearState(int[] key)
{
    /// <summary>A row's place for a line feed that is the last character: places can tell it from others.</summary>
    public const int LastLineFeed = 128;

    /// <summary>What a state takes up, in the unit of <see cref="LinearRunner.MaxCells"/>.</summary>
    public const int RowCells = 2 * (LastLineFeed + 1);

    /// <summary>A match is found, whatever follows.</summary>
    public static readonly LinearState Matched = new([0]);

    /// <summary>None can be found any more.</summary>
    public static readonly LinearState Dead = new([0]);

    public ReadOnlySpan<int> Steps => key.AsSpan(0, key.Length - 1);

    public LinearContext Before => (LinearContext)key[^1];

    /// <summary>Behind each character of ASCII, and behind a last line feed.</summary>
    public LinearState?[] Row { get; } = new LinearState?[LastLineFeed + 1];

    /// <summary>Whether the text may end here.</summary>
    public bool? Accepts { get; set; }
}

/// <summary>What is in front of a state.</summary>
[Flags]
internal enum LinearContext : byte
{
    None = 0,
    Start = 1,
    LineFeed = 2,
    Word = 4,
    AsciiWord = 8,
}
