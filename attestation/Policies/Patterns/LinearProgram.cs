using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>
/// An automaton without output: steps that take a character, check a place, or go two ways (Thompson's construction; Russ Cox, "Regular Expression Matching Can
/// Be Simple And Fast", is where to read of it). Immutable.
/// </summary>
internal sealed class LinearProgram
{
    /// <summary>The most steps of all automata of a list together.</summary>
    public const int MaxSteps = 1 << 20;

    private readonly List<LinearStep> _steps = [];

    private LinearProgram()
    {
    }

    public int Count => _steps.Count;

    /// <summary>A step is about the character in front: a state has to remember what it was.</summary>
    public bool LooksBack { get; private set; }

    public LinearStep this[int at] => _steps[at];

    /// <summary>Of ways that start alike the common parts are there once.</summary>
    public static LinearProgram Of(IEnumerable<ImmutableArray<PatternPart>> branches)
    {
        var program = new LinearProgram();
        var root = new Fork();
        foreach (var branch in branches)
        {
            var fork = root;
            foreach (var part in branch)
                fork = fork.Next(part);
            fork.IsEnd = true;
        }

        program.Emit(root);
        return program;
    }

    // Depth first with a stack of its own: a fork may be as deep as a pattern is long.
    private void Emit(Fork root)
    {
        var open = new Stack<(Fork Fork, int At)>();
        open.Push((root, Add(default)));
        while (open.TryPop(out var next))
        {
            var (fork, at) = next;
            var ways = new List<int>();
            if (fork.IsEnd)
                ways.Add(Add(new LinearStep(LinearOperation.Match)));
            foreach (var (part, child) in fork.Children)
            {
                ways.Add(Count);
                Emit(part.Node!);
                open.Push((child, Add(default))); // filled in when its turn comes
            }

            Fill(at, ways);
        }
    }

    // A step that goes all these ways.
    private void Fill(int at, List<int> ways)
    {
        for (var i = 0; i < ways.Count - 2; i++)
        {
            var rest = Add(default);
            _steps[at] = new LinearStep(LinearOperation.Fork, ways[i], rest);
            at = rest;
        }

        _steps[at] = new LinearStep(LinearOperation.Fork, ways[^Math.Min(2, ways.Count)], ways[^1]);
    }

    // Falls through to the step behind what it adds.
    private void Emit(PatternNode node)
    {
        switch (node)
        {
            case PatternNode.One one:
                Add(new LinearStep(LinearOperation.Take, Count + 1) { Set = one.Set });
                break;
            case PatternNode.Place place:
                LooksBack |= place.Of is not (PatternPlace.End or PatternPlace.EndOfText or PatternPlace.LineEnd);
                Add(new LinearStep(LinearOperation.Check, Count + 1) { Place = place.Of });
                break;
            case PatternNode.Choice choice:
                EmitChoice(choice);
                break;
            case PatternNode.Repetition repetition:
                for (var i = 0; i < repetition.Min; i++)
                    Emit(repetition.Of);
                EmitRest(repetition);
                break;
        }
    }

    private void EmitChoice(PatternNode.Choice choice)
    {
        var ends = new List<int>();
        for (var i = 0; i < choice.Branches.Length; i++)
        {
            var fork = i + 1 < choice.Branches.Length ? Add(default) : -1;
            foreach (var node in choice.Branches[i])
                Emit(node);
            if (fork < 0)
                break;
            ends.Add(Add(default));
            _steps[fork] = new LinearStep(LinearOperation.Fork, fork + 1, Count);
        }

        foreach (var end in ends)
            _steps[end] = new LinearStep(LinearOperation.Fork, Count, Count);
    }

    private void EmitRest(PatternNode.Repetition repetition)
    {
        if (repetition.Max == int.MaxValue)
        {
            var loop = Add(default);
            Emit(repetition.Of);
            Add(new LinearStep(LinearOperation.Fork, loop, loop));
            _steps[loop] = new LinearStep(LinearOperation.Fork, loop + 1, Count);
            return;
        }

        var forks = new List<int>();
        for (var i = repetition.Min; i < repetition.Max; i++)
        {
            forks.Add(Add(default));
            Emit(repetition.Of);
        }

        foreach (var fork in forks)
            _steps[fork] = new LinearStep(LinearOperation.Fork, fork + 1, Count);
    }

    private int Add(LinearStep step)
    {
        if (_steps.Count == MaxSteps)
            throw new PatternException($"all patterns together come to more than {MaxSteps} states", 0);
        _steps.Add(step);
        return _steps.Count - 1;
    }

    // A tree of parts: what patterns have in common from their start.
    private sealed class Fork
    {
        private readonly Dictionary<string, (PatternPart Part, Fork Fork)> _children = new(StringComparer.Ordinal);

        public bool IsEnd { get; set; }

        public IEnumerable<(PatternPart Part, Fork Fork)> Children => _children.Values;

        public Fork Next(PatternPart part)
        {
            if (!_children.TryGetValue(part.Key, out var child))
                _children[part.Key] = child = (part, new Fork());
            return child.Fork;
        }
    }
}
