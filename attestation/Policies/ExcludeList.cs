using System.Buffers;
using System.Text;
using System.Text.RegularExpressions;

namespace Keylime.Attestation;

/// <summary>
/// Patterns of paths that are not judged. As upstream does, a pattern matches at the path's start and need not reach its end:
/// <c>/tmp</c> excludes all that begins so.
/// </summary>
internal sealed class ExcludeList
{
    // A pattern that needs backtracking (a look-around, a back reference) could run for ever; a match that takes longer is none.
    private static readonly TimeSpan BacktrackingLimit = TimeSpan.FromMilliseconds(50);

    private readonly Regex[] _patterns;

    private ExcludeList(Regex[] patterns, int count) => (_patterns, Count) = (patterns, count);

    /// <summary>Patterns, as the policy lists them.</summary>
    public int Count { get; }

    /// <exception cref="ArgumentException">A pattern is no regular expression; the message says which.</exception>
    public static ExcludeList Create(IReadOnlyList<string> patterns)
    {
        var linear = new List<string>();
        var regexes = new List<Regex>();
        for (var i = 0; i < patterns.Count; i++)
        {
            try
            {
                _ = new Regex(Anchored(patterns[i]), RegexOptions.NonBacktracking | RegexOptions.CultureInvariant);
                linear.Add(patterns[i]);
            }
            catch (NotSupportedException)
            {
                regexes.Add(new Regex(Anchored(patterns[i]), RegexOptions.CultureInvariant, BacktrackingLimit));
            }
            catch (ArgumentException e)
            {
                throw new ArgumentException($"$.excludes[{i}]: no regular expression: {e.Message}", nameof(patterns), e);
            }
        }

        if (linear.Count > 0)
        {
            regexes.Insert(0, new Regex(
                Anchored(string.Join('|', linear.Select(static p => $"(?:{p})"))), RegexOptions.NonBacktracking | RegexOptions.CultureInvariant));
        }

        return new ExcludeList([.. regexes], patterns.Count);
    }

    public bool Matches(ReadOnlySpan<byte> path)
    {
        if (_patterns.Length == 0)
            return false;

        var buffer = ArrayPool<char>.Shared.Rent(path.Length);
        try
        {
            var text = buffer.AsSpan(0, Encoding.UTF8.GetChars(path, buffer));
            foreach (var pattern in _patterns)
            {
                if (Matches(pattern, text))
                    return true;
            }

            return false;
        }
        finally
        {
            ArrayPool<char>.Shared.Return(buffer);
        }
    }

    private static bool Matches(Regex pattern, ReadOnlySpan<char> text)
    {
        try
        {
            return pattern.IsMatch(text);
        }
        catch (RegexMatchTimeoutException)
        {
            return false; // not excluded, so it is judged: the safe side
        }
    }

    private static string Anchored(string pattern) => $@"\A(?:{pattern})";
}
