using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace Keylime.Attestation;

/// <summary>
/// Patterns of paths, command lines and names, in the dialect of Python's <c>re</c>, that match in time linear in the text, whatever the patterns: a text matches if
/// one of them does. Immutable; any number of threads may match with one.
/// </summary>
/// <remarks>
/// An engine of its own: the runtime's (RegexOptions.NonBacktracking) is linear too, but takes milliseconds and a megabyte for each expression, so ten thousand
/// of them would take minutes and gigabytes; and its sets and places are not Python's.
/// </remarks>
public sealed class PatternList
{
    /// <summary>The most patterns of one list.</summary>
    public const int MaxPatterns = 10_000;

    /// <summary>The most characters of all patterns of a list together.</summary>
    public const int MaxCharacters = 4 * 1024 * 1024;

    private readonly PatternNodes _nodes;
    private LinearRunner? _spare; // of two threads one makes a runner of its own

    private PatternList(PatternNodes nodes, int count) => (_nodes, Count) = (nodes, count);

    /// <summary>Matches nothing.</summary>
    public static PatternList Empty { get; } = TryCreate([], PatternExtent.Prefix, "", out var list, out var error) ? list : throw new System.Diagnostics.UnreachableException(error);

    /// <summary>Patterns, as they were given.</summary>
    public int Count { get; }

    /// <summary>Bytes that matching may come to keep, whatever texts come.</summary>
    internal long MaxSize => Count == 0 ? 0 : sizeof(int) * (long)LinearRunner.MaxCells;

    /// <param name="extent">Whether a match must reach the text's end.</param>
    /// <param name="where">The list's place, for messages: <c>$.excludes</c>.</param>
    /// <param name="error">What, where (with the pattern's index and the place in it), and what was expected.</param>
    public static bool TryCreate(
        IReadOnlyList<string> patterns, PatternExtent extent, string where, [NotNullWhen(true)] out PatternList? list, [NotNullWhen(false)] out string? error)
    {
        ArgumentNullException.ThrowIfNull(patterns);
        return TryCreate(patterns, extent, where, i => $"{where}[{i}]", out list, out error);
    }

    /// <summary>A list of one pattern, whose place is <paramref name="where"/> itself.</summary>
    public static bool TryCreate(
        string pattern, PatternExtent extent, string where, [NotNullWhen(true)] out PatternList? list, [NotNullWhen(false)] out string? error) =>
        TryCreate([pattern], extent, where, _ => where, out list, out error);

    /// <summary>Whether a pattern matches. Bytes that are no UTF-8 count as U+FFFD, which <c>.</c> and sets match.</summary>
    public bool Matches(ReadOnlySpan<byte> utf8)
    {
        if (Count == 0)
            return false;

        var runner = Interlocked.Exchange(ref _spare, null) ?? new LinearRunner();
        var matches = _nodes.Matches(runner, utf8);
        _spare = runner;
        return matches;
    }

    public bool Matches(ReadOnlySpan<char> text)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(Encoding.UTF8.GetMaxByteCount(text.Length));
        try
        {
            return Matches(buffer.AsSpan(0, Encoding.UTF8.GetBytes(text, buffer)));
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static bool TryCreate(
        IReadOnlyList<string> patterns, PatternExtent extent, string where, Func<int, string> whereOf, [NotNullWhen(true)] out PatternList? list, [NotNullWhen(false)] out string? error)
    {
        (list, error) = (null, null);
        if (patterns.Count > MaxPatterns || patterns.Sum(static p => (long)p.Length) > MaxCharacters)
        {
            error = $"{where}: {patterns.Count} patterns of {patterns.Sum(static p => (long)p.Length)} characters; {MaxPatterns} of {MaxCharacters} at most.";
            return false;
        }

        var branches = new List<PatternBranch>();
        var i = 0;
        try
        {
            for (; i < patterns.Count; i++)
                branches.AddRange(PatternBranch.Split(PatternParser.Parse(patterns[i]), extent));
        }
        catch (PatternException e)
        {
            error = $"{whereOf(i)}, character {e.At}: {e.Message}.";
            return false;
        }

        try
        {
            var steps = LinearProgram.MaxSteps;
            list = new PatternList(new PatternNodes(branches, extent, ref steps), patterns.Count);
            return true;
        }
        catch (PatternException e)
        {
            error = $"{where}: {e.Message}.";
            return false;
        }
    }
}
