using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>One way to match a pattern, without look-aheads in it: a text to start with, what comes behind it, and what else must match or must not.</summary>
/// <param name="Literal">What every match starts with.</param>
/// <param name="Rest">What follows; empty where the literal says it all.</param>
internal sealed record PatternBranch(string Literal, ImmutableArray<PatternPart> Rest, ImmutableArray<PatternCondition> Conditions)
{
    /// <summary>The most ways that a pattern may come to.</summary>
    private const int MaxBranches = 4096;

    /// <summary>
    /// Takes a parsed pattern apart. A look-ahead with parts of fixed width in front of it, <c>P(?!X)Y</c>, holds where <c>PY</c> matches and <c>PX</c> does not:
    /// there is only one place behind <c>P</c>. Behind parts of varying width there are many, and linear time does not do.
    /// </summary>
    /// <exception cref="PatternException">A look-ahead is in such a place.</exception>
    public static ImmutableArray<PatternBranch> Split(ImmutableArray<ImmutableArray<PatternPart>> branches, PatternExtent extent)
    {
        var budget = MaxBranches;
        return Split(branches, extent, ref budget);
    }

    private static ImmutableArray<PatternBranch> Split(ImmutableArray<ImmutableArray<PatternPart>> branches, PatternExtent extent, ref int budget)
    {
        var all = ImmutableArray.CreateBuilder<PatternBranch>();
        foreach (var branch in branches)
        {
            var flat = new List<ImmutableArray<PatternPart>>();
            Flatten([], Ahead.Before(branch, null), flat, ref budget);
            foreach (var parts in flat)
                all.Add(Make(parts, extent, ref budget));
        }

        return all.ToImmutable();
    }

    // Groups of one branch are opened, and so are those with look-aheads in them: P(A|B)S is PAS and PBS.
    private static void Flatten(List<PatternPart> done, Ahead? rest, List<ImmutableArray<PatternPart>> into, ref int budget)
    {
        while (rest is not null)
        {
            var part = rest.Part;
            rest = rest.Next;
            if (part.Look != PatternLook.None || part.Branches.IsDefault || (part.Branches.Length > 1 && !part.HasLook))
            {
                done.Add(part);
                continue;
            }

            if (part.Branches.Length == 1)
            {
                rest = Ahead.Before(part.Branches[0], rest);
                continue;
            }

            var before = done.Count;
            foreach (var branch in part.Branches)
            {
                Flatten(done, Ahead.Before(branch, rest), into, ref budget);
                done.RemoveRange(before, done.Count - before);
            }

            return;
        }

        if (--budget < 0)
            throw new PatternException($"its look-aheads come to more than {MaxBranches} ways to match", 0);
        into.Add([.. done]);
    }

    // What is still to be looked at, first things first.
    private sealed record Ahead(PatternPart Part, Ahead? Next)
    {
        public static Ahead? Before(ImmutableArray<PatternPart> parts, Ahead? rest)
        {
            for (var i = parts.Length - 1; i >= 0; i--)
                rest = new Ahead(parts[i], rest);
            return rest;
        }
    }

    private static PatternBranch Make(ImmutableArray<PatternPart> parts, PatternExtent extent, ref int budget)
    {
        var conditions = ImmutableArray.CreateBuilder<PatternCondition>();
        for (var i = 0; i < parts.Length; i++)
        {
            if (parts[i] is not { Look: not PatternLook.None } look)
                continue;

            var before = parts[..i].RemoveAll(static p => p.Look != PatternLook.None);
            if (PatternParser.WidthOf(before) < 0)
                throw new PatternException("a look-ahead behind parts of varying width cannot be matched in linear time", look.At);
            ImmutableArray<ImmutableArray<PatternPart>> ahead = [.. look.Branches.Select(branch => before.AddRange(branch))];
            conditions.Add(new PatternCondition(look.Look == PatternLook.Negative, Split(ahead, PatternExtent.Prefix, ref budget)));
        }

        var core = parts.RemoveAll(static p => p.Look != PatternLook.None);
        var end = core.Length;
        while (extent == PatternExtent.Prefix && end > 0 && core[end - 1].IsOptional)
            end--; // what may match nothing at the end of a prefix decides nothing
        core = core[..end];

        var start = 0;
        while (start < core.Length && core[start].IsStart)
            start++;
        var literals = start;
        while (literals < core.Length && core[literals].Literal is not null)
            literals++;
        var literal = string.Concat(core[start..literals].Select(static p => p.Literal));
        return new PatternBranch(literal, core[literals..], conditions.ToImmutable());
    }
}

/// <summary>What else must match from the text's start, or must not: one of these branches does.</summary>
internal sealed record PatternCondition(bool Negative, ImmutableArray<PatternBranch> Branches);
