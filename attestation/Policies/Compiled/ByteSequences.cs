namespace Keylime.Attestation;

/// <summary>Compares byte arrays by what is in them, and spans with them.</summary>
internal sealed class ByteSequences : IEqualityComparer<byte[]>, IAlternateEqualityComparer<ReadOnlySpan<byte>, byte[]>
{
    public static readonly ByteSequences Equal = new();

    public bool Equals(byte[]? one, byte[]? other) => one.AsSpan().SequenceEqual(other);

    public int GetHashCode(byte[] bytes) => GetHashCode(bytes.AsSpan());

    public bool Equals(ReadOnlySpan<byte> span, byte[] other) => span.SequenceEqual(other);

    public int GetHashCode(ReadOnlySpan<byte> span)
    {
        var hash = default(HashCode); // seeded anew in every process: who chooses names cannot choose their hashes
        hash.AddBytes(span);
        return hash.ToHashCode();
    }

    public byte[] Create(ReadOnlySpan<byte> span) => span.ToArray();
}
