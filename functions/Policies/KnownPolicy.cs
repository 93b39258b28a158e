using Keylime.Attestation;

namespace Keylime.Functions.Policies;

/// <summary>What a digest names, read.</summary>
/// <param name="Size">Bytes that it holds, without those of its parts.</param>
internal sealed record KnownPolicy(PolicyReading Reading, long Size)
{
    /// <summary>Of a text of layers: what it says.</summary>
    public PolicyLayerList? Layers { get; init; }

    /// <summary>Of a text of layers: the digests of the policies that it is put together of.</summary>
    public IReadOnlyList<string> Parts { get; init; } = [];

    /// <summary>From then on it is read anew: who signs it may have changed.</summary>
    public DateTimeOffset Until { get; init; } = DateTimeOffset.MaxValue;
}
