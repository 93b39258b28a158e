using System.Text;

namespace Keylime.Attestation;

/// <summary>
/// Runs automata over texts: every step of a text costs as much as the automaton has steps, at most, and usually a look into a table, for the states that
/// were met are kept. They are thrown away when they come to too much, so memory is bounded whatever texts come. For one thread at a time.
/// </summary>
internal sealed class LinearRunner
{
    /// <summary>What is kept at most, in numbers of 32 bits.</summary>
    public const int MaxCells = 1 << 21;

    private readonly Dictionary<LinearProgram, States> _states = [];
    private int _cells;

    /// <summary>Whether the automaton matches the text behind <paramref name="from"/>.</summary>
    public bool Matches(LinearProgram program, ReadOnlySpan<byte> utf8, int from, PatternExtent extent)
    {
        if (!_states.TryGetValue(program, out var states))
        {
            Spend(2 * program.Count);
            _states[program] = states = new States(this, program, extent);
        }

        return states.Run(utf8, from);
    }

    private void Spend(int cells)
    {
        if ((_cells += cells) <= MaxCells)
            return;
        _cells = cells;
        foreach (var states in _states.Values)
            states.Forget();
        _states.Clear();
    }

    private sealed class States(LinearRunner runner, LinearProgram program, PatternExtent extent)
    {
        private readonly Dictionary<int[], LinearState> _known = new(Sequences.Equal);
        private readonly int[] _seen = new int[program.Count]; // the round in which a step was reached
        private readonly List<int> _open = [];
        private readonly List<int> _next = [];
        private int _round;

        public void Forget() => _known.Clear();

        public bool Run(ReadOnlySpan<byte> text, int from)
        {
            var state = Find([0, (int)Before(text, from)]);
            for (var at = from; at < text.Length;)
            {
                int character = text[at];
                var used = 1;
                if (character >= 128)
                {
                    _ = Rune.DecodeFromUtf8(text[at..], out var rune, out used); // what is no UTF-8 counts as U+FFFD
                    character = rune.Value;
                }

                at += used;
                var last = at == text.Length;
                var symbol = character == '\n' && last ? LinearState.LastLineFeed : character;
                state = symbol <= LinearState.LastLineFeed && used == 1 ? state.Row[symbol] ??= Step(state, character, last) : Step(state, character, last);
                if (state == LinearState.Matched)
                    return true;
                if (state == LinearState.Dead)
                    return false;
            }

            return state.Accepts ??= Follow(state, -1, true);
        }

        private LinearState Step(LinearState state, int character, bool last)
        {
            if (Follow(state, character, last))
                return LinearState.Matched;
            if (_next.Count == 0)
                return LinearState.Dead;
            _next.Sort();
            return Find([.. _next, program.LooksBack ? (int)Context(character) : 0]);
        }

        // All that can be reached without a character, and what takes this one: -1 for the text's end. True if a match is among it that counts.
        private bool Follow(LinearState state, int character, bool last)
        {
            _round += 2;
            _next.Clear();
            _open.Clear();
            foreach (var first in state.Steps)
                _open.Add(first);
            while (_open.Count > 0)
            {
                var at = _open[^1];
                _open.RemoveAt(_open.Count - 1);
                if (_seen[at] == _round)
                    continue;
                _seen[at] = _round;
                var step = program[at];
                switch (step.Operation)
                {
                    case LinearOperation.Fork:
                        _open.Add(step.Next);
                        if (step.Other != step.Next)
                            _open.Add(step.Other);
                        break;
                    case LinearOperation.Take when character >= 0 && step.Set!.Contains(character):
                        _next.Add(step.Next);
                        break;
                    case LinearOperation.Check when Holds(step.Place, state.Before, character, last):
                        _open.Add(step.Next);
                        break;
                    case LinearOperation.Match when character < 0 || extent == PatternExtent.Prefix:
                        return true;
                }
            }

            return false;
        }

        private static bool Holds(PatternPlace place, LinearContext before, int character, bool last)
        {
            return place switch
            {
                PatternPlace.Start => before.HasFlag(LinearContext.Start),
                PatternPlace.LineStart => (before & (LinearContext.Start | LinearContext.LineFeed)) != 0,
                PatternPlace.End => character < 0,
                PatternPlace.EndOfText => character < 0 || (character == '\n' && last),
                PatternPlace.LineEnd => character is < 0 or '\n',
                PatternPlace.WordEdge => Edge(LinearContext.Word, ascii: false),
                PatternPlace.AsciiWordEdge => Edge(LinearContext.AsciiWord, ascii: true),
                PatternPlace.NoWordEdge => !Empty() && !Edge(LinearContext.Word, ascii: false),
                _ => !Empty() && !Edge(LinearContext.AsciiWord, ascii: true),
            };

            bool Edge(LinearContext word, bool ascii) => before.HasFlag(word) != (character >= 0 && CharSets.IsWord(character, ascii));

            // Python until 3.13: \B is nowhere in an empty text
            bool Empty() => character < 0 && before.HasFlag(LinearContext.Start);
        }

        private LinearContext Before(ReadOnlySpan<byte> text, int from)
        {
            if (!program.LooksBack)
                return LinearContext.None;
            if (from == 0)
                return LinearContext.Start;
            _ = Rune.DecodeLastFromUtf8(text[..from], out var rune, out _);
            return Context(rune.Value);
        }

        private static LinearContext Context(int character) =>
            (character == '\n' ? LinearContext.LineFeed : LinearContext.None)
            | (CharSets.IsWord(character, ascii: false) ? LinearContext.Word : LinearContext.None)
            | (CharSets.IsWord(character, ascii: true) ? LinearContext.AsciiWord : LinearContext.None);

        // By the steps, and behind them what is in front.
        private LinearState Find(int[] key)
        {
            if (_known.TryGetValue(key, out var state))
                return state;
            runner.Spend(key.Length + LinearState.RowCells);
            return _known[key] = new LinearState(key);
        }
    }

    private sealed class Sequences : IEqualityComparer<int[]>
    {
        public static readonly Sequences Equal = new();

        public bool Equals(int[]? one, int[]? other) => one.AsSpan().SequenceEqual(other);

        public int GetHashCode(int[] steps)
        {
            var hash = default(HashCode);
            hash.AddBytes(System.Runtime.InteropServices.MemoryMarshal.AsBytes(steps.AsSpan()));
            return hash.ToHashCode();
        }
    }
}
