using Keylime.Attestation;
using Keylime.Functions.Storage;
using Keylime.Tpm;

namespace Keylime.Functions.Verifier;

/// <summary>Which PCRs a node's policies need.</summary>
internal static class Asking
{
    private const int ImaPcr = 10;

    // A node without any policy proves at least that it is alive, over what firmware measures.
    private static readonly PcrSet Liveness = PcrSet.Of(0, 1, 2, 3, 4, 5, 6, 7);

    public static PcrSet Pcrs(Node node)
    {
        var pcrs = PcrsWithValues(node)?.Pcrs ?? default;
        if (node.RuntimePolicy is not null)
            pcrs = pcrs.Union(PcrSet.Of(ImaPcr));
        return pcrs.IsEmpty ? Liveness : pcrs;
    }

    /// <exception cref="InvalidDataException">The row has PCR values that nobody could have enrolled.</exception>
    public static PcrPolicy? PcrsWithValues(Node node)
    {
        if (node.Pcrs.Count == 0)
            return null;
        return PcrPolicy.TryCreate(node.Pcrs, out var policy, out var error)
            ? policy
            : throw new InvalidDataException($"The stored PCR values of {node.Id} are none: {error}");
    }
}
