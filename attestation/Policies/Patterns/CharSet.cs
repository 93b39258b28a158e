namespace Keylime.Attestation;

/// <summary>A set of characters (Unicode scalar values), as ranges. Immutable.</summary>
internal sealed class CharSet
{
    public const int Last = 0x10FFFF;

    private static readonly CharSet[] Single = [.. Enumerable.Range(0, 128).Select(static c => new CharSet([c, c + 1]))];

    private readonly int[] _bounds; // the first of a range, and one past its last, ascending
    private readonly UInt128 _ascii;

    private CharSet(int[] bounds)
    {
        _bounds = bounds;
        for (var i = 0; i < bounds.Length && bounds[i] < 128; i += 2)
        {
            for (var c = bounds[i]; c < Math.Min(bounds[i + 1], 128); c++)
                _ascii |= UInt128.One << c;
        }
    }

    public static CharSet Everything { get; } = new([0, Last + 1]);

    /// <summary>Of one character.</summary>
    public static CharSet One(int c) => c < 128 ? Single[c] : new CharSet([c, c + 1]);

    /// <summary>How many characters there are.</summary>
    public int Count
    {
        get
        {
            var count = 0;
            for (var i = 0; i < _bounds.Length; i += 2)
                count += _bounds[i + 1] - _bounds[i];
            return count;
        }
    }

    public bool Contains(int c) => c < 128 ? (_ascii >> c & UInt128.One) != UInt128.Zero : Search(c);

    /// <summary>Of ranges in any order, which may overlap; each with its last character in it.</summary>
    public static CharSet Of(params IEnumerable<(int First, int Last)> ranges)
    {
        var bounds = new List<int>();
        foreach (var (first, last) in ranges.OrderBy(static r => r.First))
        {
            if (bounds.Count > 0 && first <= bounds[^1])
                bounds[^1] = Math.Max(bounds[^1], last + 1);
            else
                bounds.AddRange([first, last + 1]);
        }

        return new CharSet([.. bounds]);
    }

    public IEnumerable<(int First, int Last)> Ranges()
    {
        for (var i = 0; i < _bounds.Length; i += 2)
            yield return (_bounds[i], _bounds[i + 1] - 1);
    }

    public CharSet Complement()
    {
        List<int> bounds = [0, .. _bounds, Last + 1];
        if (bounds[1] == 0)
            bounds.RemoveRange(0, 2);
        if (bounds.Count > 1 && bounds[^2] == Last + 1)
            bounds.RemoveRange(bounds.Count - 2, 2);
        return new CharSet([.. bounds]);
    }

    private bool Search(int c)
    {
        var at = Array.BinarySearch(_bounds, c);
        return at >= 0 ? at % 2 == 0 : ~at % 2 == 1; // among bounds, behind the first of a range
    }
}
