using System.Collections;
using System.Numerics;

namespace Keylime.Tpm;

/// <summary>A set of PCR indexes, in ascending order, which is the order in which a quote hashes them.</summary>
public readonly record struct PcrSet(uint Bits) : IEnumerable<int>
{
    /// <summary>One more than the highest PCR index that a set can hold.</summary>
    public const int Limit = 32;

    public int Count => BitOperations.PopCount(Bits);

    public bool IsEmpty => Bits == 0;

    /// <exception cref="ArgumentOutOfRangeException">An index is not from 0 to 31.</exception>
    public static PcrSet Of(params ReadOnlySpan<int> pcrs)
    {
        var bits = 0u;
        foreach (var pcr in pcrs)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(pcr);
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(pcr, Limit);
            bits |= 1u << pcr;
        }

        return new PcrSet(bits);
    }

    public bool Covers(PcrSet other) => (Bits & other.Bits) == other.Bits;

    public bool Contains(int pcr) => pcr is >= 0 and < Limit && (Bits & 1u << pcr) != 0;

    public PcrSet Union(PcrSet other) => new(Bits | other.Bits);

    public PcrSet Except(PcrSet other) => new(Bits & ~other.Bits);

    public IEnumerator<int> GetEnumerator()
    {
        for (var rest = Bits; rest != 0; rest &= rest - 1)
            yield return BitOperations.TrailingZeroCount(rest);
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    public override string ToString() => string.Join(',', this);
}
