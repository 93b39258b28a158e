using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>What a part of a pattern matches.</summary>
internal abstract record PatternNode
{
    private PatternNode()
    {
    }

    internal sealed record One(CharSet Set) : PatternNode;

    internal sealed record Place(PatternPlace Of) : PatternNode;

    internal sealed record Choice(ImmutableArray<ImmutableArray<PatternNode>> Branches) : PatternNode;

    internal sealed record Repetition(PatternNode Of, int Min, int Max) : PatternNode;
}

/// <summary>A place in a text that has no width.</summary>
internal enum PatternPlace
{
    Start,
    LineStart,
    End,

    /// <summary>The end, or in front of a line feed that is the last character.</summary>
    EndOfText,
    LineEnd,
    WordEdge,
    NoWordEdge,
    AsciiWordEdge,
    NoAsciiWordEdge,
}
