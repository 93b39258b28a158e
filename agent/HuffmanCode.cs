namespace Keylime.Agent;

/// <summary>A code for symbols as deflate has it (RFC 1951, 3.2.2): the lengths say all, and shorter codes come first.</summary>
internal sealed class HuffmanCode
{
    private const int SymbolBits = 9;

    private readonly byte[] _lengths;
    private readonly ushort[] _codes;

    public HuffmanCode(byte[] lengths)
    {
        _lengths = lengths;
        _codes = new ushort[lengths.Length];
        var next = 0;
        for (var length = 1; length <= 15; length++, next <<= 1)
        {
            for (var symbol = 0; symbol < lengths.Length; symbol++)
            {
                if (lengths[symbol] == length)
                    _codes[symbol] = Reverse(next++, length);
            }
        }
    }

    /// <summary>In bits; 0 for a symbol that is not used.</summary>
    public ReadOnlySpan<byte> Lengths => _lengths;

    /// <summary>The first bit lowest, as they go out.</summary>
    public ReadOnlySpan<ushort> Codes => _codes;

    /// <summary>The best code for what is used, of at least two symbols: some readers take no code of one.</summary>
    /// <param name="maxBits">The longest that a code may be. Where the best one is longer, uses that are nearer to each other are coded.</param>
    public static HuffmanCode For(ReadOnlySpan<int> uses, int maxBits)
    {
        Span<int> leaves = stackalloc int[uses.Length]; // uses and symbol, in order
        var lengths = new byte[uses.Length];
        for (var divisor = 1; ; divisor *= 2)
        {
            var count = 0;
            for (var symbol = 0; symbol < uses.Length; symbol++)
            {
                if (uses[symbol] > 0)
                    leaves[count++] = Math.Max(1, uses[symbol] / divisor) << SymbolBits | symbol;
            }

            for (var symbol = 0; count < 2; symbol++)
            {
                if (uses[symbol] == 0)
                    leaves[count++] = 1 << SymbolBits | symbol;
            }

            leaves[..count].Sort();
            if (Measure(leaves[..count], lengths) <= maxBits)
                return new HuffmanCode(lengths);
        }
    }

    /// <summary>Bits that so many uses take.</summary>
    public int Cost(ReadOnlySpan<int> uses)
    {
        var bits = 0;
        for (var symbol = 0; symbol < uses.Length; symbol++)
            bits += uses[symbol] * _lengths[symbol];
        return bits;
    }

    // Huffman's tree by two queues, for the leaves are in order: those that are left, and the nodes made of two, which come in order by themselves.
    private static int Measure(ReadOnlySpan<int> leaves, Span<byte> lengths)
    {
        var nodes = 2 * leaves.Length - 1;
        Span<int> weights = stackalloc int[nodes];
        Span<ushort> parents = stackalloc ushort[nodes];
        for (var i = 0; i < leaves.Length; i++)
            weights[i] = leaves[i] >> SymbolBits;
        var (leaf, made) = (0, leaves.Length);
        for (var node = leaves.Length; node < nodes; node++)
        {
            for (var child = 0; child < 2; child++)
            {
                var least = leaf < leaves.Length && (made == node || weights[leaf] <= weights[made]) ? leaf++ : made++;
                weights[node] += weights[least];
                parents[least] = (ushort)node;
            }
        }

        Span<byte> depths = stackalloc byte[nodes];
        var deepest = 0;
        for (var node = nodes - 2; node >= 0; node--)
        {
            depths[node] = (byte)(depths[parents[node]] + 1);
            deepest = Math.Max(deepest, depths[node]);
            if (node < leaves.Length)
                lengths[leaves[node] & (1 << SymbolBits) - 1] = depths[node];
        }

        return deepest;
    }

    private static ushort Reverse(int code, int length)
    {
        var reversed = 0;
        for (var i = 0; i < length; i++, code >>= 1)
            reversed = reversed << 1 | code & 1;
        return (ushort)reversed;
    }
}
