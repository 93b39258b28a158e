using System.Numerics;

namespace Keylime.Agent;

/// <summary>The symbols of deflate (RFC 1951): bytes, the end of a block, lengths and distances of copies with extra bits behind them.</summary>
internal static class DeflateSymbols
{
    public const int EndOfBlock = 256;
    public const int FirstLength = 257;
    public const int MaxMatch = 258; // the longest copy
    public const int Literals = 286; // with lengths
    public const int Distances = 30;
    public const int LengthCodes = 19; // in which code lengths are written

    /// <summary>The code that needs no description (3.2.6).</summary>
    public static readonly HuffmanCode FixedLiterals = new(FixedLengths());

    public static readonly HuffmanCode FixedDistances = new(Enumerable.Repeat((byte)5, Distances).ToArray());

    /// <summary>The order in which the lengths of the code for lengths come (3.2.7).</summary>
    public static ReadOnlySpan<byte> Order => [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

    /// <summary>Of a copy's length: four symbols for each power of two (3.2.5).</summary>
    public static (int Symbol, int Extra, int ExtraBits) OfLength(int length)
    {
        if (length == MaxMatch)
            return (Literals - 1, 0, 0);
        var value = length - 3;
        var bits = Math.Max(0, BitOperations.Log2((uint)value | 1) - 2);
        return (FirstLength + 4 * bits + (value >> bits), value & (1 << bits) - 1, bits);
    }

    /// <summary>Of how far back it lies: two for each power of two.</summary>
    public static (int Symbol, int Extra, int ExtraBits) OfDistance(int distance)
    {
        var value = distance - 1;
        var bits = Math.Max(0, BitOperations.Log2((uint)value | 1) - 1);
        return (2 * bits + (value >> bits), value & (1 << bits) - 1, bits);
    }

    private static byte[] FixedLengths()
    {
        var lengths = new byte[288];
        for (var i = 0; i < lengths.Length; i++)
            lengths[i] = (byte)(i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8);
        return lengths;
    }
}
