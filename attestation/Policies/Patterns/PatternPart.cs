using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>A piece of a pattern: a character, a set, a place, a group, a look-ahead; or one of them repeated.</summary>
/// <param name="Key">Two parts of one key match the same: what is written, and the flags that hold there.</param>
/// <param name="Width">How many characters it always matches; -1 where that varies.</param>
/// <param name="Size">How many states it comes to, about.</param>
/// <param name="At">Where it starts.</param>
internal sealed record PatternPart(string Key, int Width, int Size, int At)
{
    /// <summary><see langword="null"/> where it cannot be said without a look-ahead.</summary>
    public PatternNode? Node { get; init; }

    /// <summary>The character that it matches, if it is only one.</summary>
    public string? Literal { get; init; }

    /// <summary>The text's start, and nothing else.</summary>
    public bool IsStart => Node is PatternNode.Place { Of: PatternPlace.Start };

    /// <summary>May match nothing, wherever it is.</summary>
    public bool IsOptional => Node is PatternNode.Repetition { Min: 0 };

    /// <summary>Of a group that is not repeated, or of a look-ahead.</summary>
    public ImmutableArray<ImmutableArray<PatternPart>> Branches { get; init; }

    public PatternLook Look { get; init; }

    /// <summary>A look-ahead, or a group with one in it.</summary>
    public bool HasLook => Look != PatternLook.None || (!Branches.IsDefault && Node is null);
}

internal enum PatternLook
{
    None,
    Positive,
    Negative,
}
