using Keylime.Attestation;
using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Policies;

/// <summary>
/// Reads policies' texts: signed or bare, of layers or plain, for what runs or for what boots. Where signatures are required, a text without one of a trusted
/// signer is none, whenever it was put.
/// </summary>
internal sealed class PolicyTexts(IBlobStore blobs, IRecordStore<PolicyRecord> policies, PolicySigners signers, ServiceOptions options, TimeProvider clock)
{
    private const int MaxDepth = 8;

    /// <summary>Reads a text that somebody puts. Layers that are named get the digests that they have at this moment, so that the text means the same for ever.</summary>
    /// <param name="name">Of the policy that it will be; a layer of that name would be a cycle.</param>
    /// <param name="scope">Of who puts it: policies of other groups are not there.</param>
    public async Task<(ReadOnlyMemory<byte> Pinned, PolicyReading Reading)> ReadForUseAsync(string name, ReadOnlyMemory<byte> text, CallerScope scope, CancellationToken cancel)
    {
        if (!DsseEnvelope.IsEnvelope(text.Span) && PolicyLayerList.IsOne(text.Span))
        {
            if (!PolicyLayerList.TryParse(text, out var list, out var error))
                return (text, new PolicyReading.Refused(error));
            var pinned = new List<PolicyLayerReference>();
            foreach (var layer in list.Layers)
            {
                var where = $"$.layers[{pinned.Count}].policy";
                if (layer.Policy == name)
                    return (text, new PolicyReading.Refused($"{where}: '{name}' would be a layer of itself."));
                var stored = (await policies.FindAsync(layer.Policy, scope, cancel))?.Value;
                if (layer.Digest is null && stored is not { Digest: not null, Kind: PolicyKind.Runtime })
                    return (text, new PolicyReading.Refused($"{where}: no runtime policy '{layer.Policy}' is in force."));
                if (stored is not null && await HasLayerAsync(stored, name, [], cancel))
                    return (text, new PolicyReading.Refused($"{where}: '{layer.Policy}' has '{name}' as a layer: a cycle."));
                pinned.Add(layer with { Digest = layer.Digest ?? stored!.Digest });
            }

            text = PolicyLayerList.Of(pinned).Write();
        }

        return (text, await ReadAsync(text, cancel));
    }

    /// <summary>Reads a text that names all that it needs.</summary>
    public async Task<PolicyReading> ReadAsync(ReadOnlyMemory<byte> text, CancellationToken cancel)
    {
        var opened = await OpenAsync(text, cancel);
        if (opened.Error is { } refused)
            return new PolicyReading.Refused(refused);
        if (!PolicyLayerList.IsOne(opened.Text.Span))
            return ReadPlain(opened);

        var layers = new List<PolicyLayer>();
        if (await AddLayersAsync(opened.Text, null, layers, 0, cancel) is { } error)
            return new PolicyReading.Refused(error);
        return RuntimePolicy.TryLayer(layers, out var layered, out var wrong)
            ? new PolicyReading.Runtime(layered, opened.Signers)
            : new PolicyReading.Refused($"$.layers: {wrong}");
    }

    private static PolicyReading ReadPlain(Opened opened)
    {
        if (BootPolicy.IsOne(opened.Text.Span))
        {
            return BootPolicy.TryParse(opened.Text, out var boot, out var bootError)
                ? new PolicyReading.Boot(boot, opened.Signers)
                : new PolicyReading.Refused(bootError);
        }

        return RuntimePolicy.TryParse(opened.Text, out var runtime, out var error)
            ? new PolicyReading.Runtime(runtime, opened.Signers)
            : new PolicyReading.Refused(error);
    }

    // Layers of layers stand in one row; what holds until a date holds no longer in any of its parts.
    private async Task<string?> AddLayersAsync(ReadOnlyMemory<byte> text, DateTimeOffset? until, List<PolicyLayer> into, int depth, CancellationToken cancel)
    {
        if (depth >= MaxDepth)
            return $"$.layers: layers of layers, deeper than {MaxDepth}.";
        if (!PolicyLayerList.TryParse(text, out var list, out var error))
            return error;

        for (var i = 0; i < list.Layers.Length; i++)
        {
            var layer = list.Layers[i];
            if (into.Count >= RuntimePolicy.MaxLayers)
                return $"$.layers: more than {RuntimePolicy.MaxLayers} in all.";
            if (layer.Digest is not { } digest)
                return $"$.layers[{i}].digest: is missing; a signed text names the digests of its layers.";
            if (await blobs.FindAsync(digest, cancel) is not { } content)
                return $"$.layers[{i}].digest: there is no policy's text {digest}.";
            var opened = await OpenAsync(content, cancel);
            if (opened.Error is { } refused)
                return $"$.layers[{i}], '{layer.Policy}': {refused}";

            var ends = layer.Until is { } own && until is { } outer ? own < outer ? own : outer : layer.Until ?? until;
            if (PolicyLayerList.IsOne(opened.Text.Span))
            {
                if (await AddLayersAsync(opened.Text, ends, into, depth + 1, cancel) is { } deeper)
                    return $"$.layers[{i}], '{layer.Policy}': {deeper}";
            }
            else if (RuntimePolicy.TryParse(opened.Text, out var policy, out var why))
                into.Add(new PolicyLayer(layer.Policy, policy, ends));
            else
                return $"$.layers[{i}], '{layer.Policy}': {why}";
        }

        return null;
    }

    // Takes a text out of its envelope. Where nobody asks for signatures a bad one is as good as none, and nobody is told that there is one.
    private async Task<Opened> OpenAsync(ReadOnlyMemory<byte> text, CancellationToken cancel)
    {
        if (!DsseEnvelope.IsEnvelope(text.Span))
            return new Opened(text, [], options.RequireSignedPolicies ? "$: it is not signed, and this service takes signed policies only (DSSE)." : null);
        if (!DsseEnvelope.TryParse(text, out var envelope, out var malformed))
            return new Opened(text, [], malformed);
        return envelope.Verify(await signers.TrustAsync(cancel), clock.GetUtcNow()) switch
        {
            DsseResult.Verified verified => new Opened(verified.Payload, [.. verified.Signers.Select(static s => s.Name)], null),
            DsseResult.Rejected rejected when options.RequireSignedPolicies => new Opened(text, [], $"$.signatures: {rejected.Why}"),
            _ => new Opened(envelope.UntrustedPayload, [], null),
        };
    }

    private sealed record Opened(ReadOnlyMemory<byte> Text, IReadOnlyList<string> Signers, string? Error);

    // Texts name layers by digest, so no text can contain itself; but a name whose text contains another text of the same name is what nobody means.
    private async Task<bool> HasLayerAsync(PolicyRecord policy, string name, HashSet<string> seen, CancellationToken cancel)
    {
        if (policy.Digest is null || !seen.Add(policy.Digest) || seen.Count > RuntimePolicy.MaxLayers || await blobs.FindAsync(policy.Digest, cancel) is not { } text)
            return false;
        var inside = DsseEnvelope.IsEnvelope(text.Span) && DsseEnvelope.TryParse(text, out var envelope, out _) ? envelope.UntrustedPayload : text;
        if (!PolicyLayerList.IsOne(inside.Span) || !PolicyLayerList.TryParse(inside, out var list, out _))
            return false;
        foreach (var layer in list.Layers)
        {
            if (layer.Policy == name || await policies.FindAsync(layer.Policy, cancel) is { Value: var next } && await HasLayerAsync(next, name, seen, cancel))
                return true;
        }

        return false;
    }
}
