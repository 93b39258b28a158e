namespace Keylime.Attestation;

/// <summary>A pattern that is none, or one that cannot be matched in linear time.</summary>
/// <param name="at">The character, counted from 0.</param>
internal sealed class PatternException(string message, int at) : Exception(message)
{
    public int At { get; } = at;
}
