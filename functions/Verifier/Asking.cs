using Keylime.Attestation;
using Keylime.Functions.Storage;
using Keylime.Tpm;

namespace Keylime.Functions.Verifier;

/// <summary>Which PCRs a node's policies need.</summary>
internal static class Asking
{
    // PCR 10, and those that the list's first line, boot_aggregate, is made of (kernel: ima_calc_boot_aggregate).
    private static readonly PcrSet Runtime = PcrSet.Of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10);

    // A node without any policy proves at least that it is alive, over what firmware measures. A boot policy that cannot be read asks for no less.
    private static readonly PcrSet Firmware = PcrSet.Of(0, 1, 2, 3, 4, 5, 6, 7);

    /// <param name="boot">The node's boot policy, where it can be read.</param>
    public static PcrSet Pcrs(Node node, BootPolicy? boot)
    {
        var pcrs = PcrsWithValues(node)?.Pcrs ?? default;
        if (node.RuntimePolicy is not null)
            pcrs = pcrs.Union(Runtime);
        if (node.BootPolicy is not null)
            pcrs = pcrs.Union(boot?.Pcrs ?? Firmware);
        return pcrs.IsEmpty ? Firmware : pcrs;
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
