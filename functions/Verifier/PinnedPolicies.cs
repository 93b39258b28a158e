using Keylime.Functions.Policies;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Verifier;

/// <summary>The digests of the texts that a node's policies point to at this moment; null where there is none, though the node may want one.</summary>
internal readonly record struct PinnedPolicies(string? Runtime, string? Boot)
{
    public static async ValueTask<PinnedPolicies> OfAsync(Node node, PolicyPins pins, CancellationToken cancel) => new(
        node.RuntimePolicy is { } runtime ? await pins.DigestAsync(runtime, cancel) : null,
        node.BootPolicy is { } boot ? await pins.DigestAsync(boot, cancel) : null);
}
