using System.Collections.Immutable;
using System.Text;

namespace Keylime.Attestation;

/// <summary>
/// Branches by what they start with, sorted, so that a text meets only those whose start it has: of ten thousand excludes of different folders a path is
/// tried with the one or two that it can match. Immutable.
/// </summary>
internal sealed class PatternNodes
{
    private readonly byte[][] _starts;
    private readonly Node[] _nodes;

    /// <param name="steps">How many steps may still come, of all automata of a list.</param>
    /// <exception cref="PatternException">They are too many.</exception>
    public PatternNodes(IEnumerable<PatternBranch> branches, PatternExtent extent, ref int steps)
    {
        var groups = branches.GroupBy(static b => b.Literal, StringComparer.Ordinal).Select(static g => (Start: Encoding.UTF8.GetBytes(g.Key), Branches: g)).ToArray();
        Array.Sort(groups, static (one, other) => one.Start.AsSpan().SequenceCompareTo(other.Start));
        _starts = [.. groups.Select(static g => g.Start)];
        _nodes = new Node[groups.Length];
        for (var i = 0; i < groups.Length; i++)
            _nodes[i] = new Node(groups[i].Branches, extent, ref steps);
    }

    public bool Matches(LinearRunner runner, ReadOnlySpan<byte> text)
    {
        var (low, high) = (0, _starts.Length);
        for (var depth = 0; low < high; depth++)
        {
            // All starts from low to high have the text's first bytes; the one that has no more of them comes first.
            if (_starts[low].Length == depth && _nodes[low++].Matches(runner, text, depth))
                return true;
            if (depth == text.Length)
                return false;
            (low, high) = (Bound(low, high, depth, text[depth], above: false), Bound(low, high, depth, text[depth], above: true));
        }

        return false;
    }

    // The first of the starts whose byte at this depth is not below b, or is above it.
    private int Bound(int low, int high, int depth, byte b, bool above)
    {
        while (low < high)
        {
            var middle = low + (high - low) / 2;
            var there = _starts[middle][depth];
            if (there < b || (above && there == b))
                low = middle + 1;
            else
                high = middle;
        }

        return low;
    }

    private sealed class Node
    {
        private readonly PatternExtent _extent;
        private readonly bool _literal; // the start alone is a match
        private readonly LinearProgram? _program;
        private readonly List<(LinearProgram? Program, List<(bool Negative, PatternNodes Nodes)> Conditions)> _conditional = [];

        public Node(IEnumerable<PatternBranch> branches, PatternExtent extent, ref int steps)
        {
            _extent = extent;
            var plain = new List<ImmutableArray<PatternPart>>();
            foreach (var branch in branches)
            {
                if (branch.Conditions.IsEmpty && branch.Rest.IsEmpty)
                {
                    _literal = true;
                }
                else if (branch.Conditions.IsEmpty)
                {
                    plain.Add(branch.Rest);
                }
                else
                {
                    var conditions = new List<(bool, PatternNodes)>();
                    foreach (var condition in branch.Conditions)
                        conditions.Add((condition.Negative, new PatternNodes(condition.Branches, PatternExtent.Prefix, ref steps)));
                    _conditional.Add((branch.Rest.IsEmpty ? null : Compile([branch.Rest], ref steps), conditions));
                }
            }

            if (plain.Count > 0)
                _program = Compile(plain, ref steps);
        }

        public bool Matches(LinearRunner runner, ReadOnlySpan<byte> text, int start)
        {
            if (_literal && IsEnough(text, start))
                return true;
            if (_program is not null && runner.Matches(_program, text, start, _extent))
                return true;

            foreach (var (program, conditions) in _conditional)
            {
                if ((program is null ? IsEnough(text, start) : runner.Matches(program, text, start, _extent)) && Hold(runner, conditions, text))
                    return true;
            }

            return false;
        }

        private bool IsEnough(ReadOnlySpan<byte> text, int start) => _extent == PatternExtent.Prefix || text.Length == start;

        private static bool Hold(LinearRunner runner, List<(bool Negative, PatternNodes Nodes)> conditions, ReadOnlySpan<byte> text)
        {
            foreach (var (negative, nodes) in conditions)
            {
                if (nodes.Matches(runner, text) == negative)
                    return false;
            }

            return true;
        }

        private static LinearProgram Compile(IReadOnlyList<ImmutableArray<PatternPart>> branches, ref int steps)
        {
            var program = LinearProgram.Of(branches);
            steps -= program.Count;
            return steps >= 0 ? program : throw new PatternException($"all patterns together come to more than {LinearProgram.MaxSteps} states", 0);
        }
    }
}
