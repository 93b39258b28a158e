namespace Keylime.Attestation;

/// <summary>How much of a text a pattern has to match. It always starts at the text's start.</summary>
public enum PatternExtent
{
    /// <summary>As Python's <c>re.match</c>: what is behind the match does not matter. Upstream's excludes.</summary>
    Prefix,

    /// <summary>As Python's <c>re.fullmatch</c>: up to the text's end.</summary>
    Whole,
}
