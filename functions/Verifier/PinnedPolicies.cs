using Keylime.Functions.Storage;

namespace Keylime.Functions.Verifier;

/// <summary>The digests of the texts that a node's policies point to at this moment; null where there is none, though the node may want one.</summary>
internal readonly record struct PinnedPolicies(string? Runtime, string? Boot)
{
    public static async Task<PinnedPolicies> OfAsync(Node node, IRecordStore<PolicyRecord> policies, CancellationToken cancel)
    {
        return new PinnedPolicies(await DigestAsync(node.RuntimePolicy), await DigestAsync(node.BootPolicy));

        async Task<string?> DigestAsync(string? name) => name is null ? null : (await policies.FindAsync(name, cancel))?.Value.Digest;
    }
}
