using Keylime.Attestation;
using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Policies;

/// <summary>
/// Reads policies' texts: signed or bare, of layers or plain, for what runs or for what boots. Where signatures are required, a text without one of a trusted
/// signer is none, whenever it was put, and so is its compiled form.
/// </summary>
internal sealed partial class PolicyTexts(
    IBlobStore blobs, IRecordStore<PolicyRecord> policies, PolicySigners signers, RecentPolicies recent, CompiledForms forms, ServiceOptions options, TimeProvider clock,
    ILogger<PolicyTexts> log)
{
    private const int MaxDepth = 8;

    // Beside the lists of a policy: its objects, and what patterns are compiled to.
    private const long Overhead = 16 * 1024;

    // Where signatures are required: other instances change the list of signers too, and certificates expire.
    private static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(5);

    /// <summary>Reads a text that somebody puts. Layers that are named get the digests that they have at this moment, so that the text means the same for ever.</summary>
    /// <param name="name">Of the policy that it will be; a layer of that name would be a cycle.</param>
    /// <param name="scope">Of who puts it: policies of other groups are not there.</param>
    public async Task<PutText> ReadForUseAsync(string name, ReadOnlyMemory<byte> text, CallerScope scope, CancellationToken cancel)
    {
        if (!DsseEnvelope.IsEnvelope(text.Span) && PolicyLayerList.IsOne(text.Span))
        {
            if (!PolicyLayerList.TryParse(text, out var list, out var error))
                return Refused(error);
            var pinned = new List<PolicyLayerReference>();
            foreach (var layer in list.Layers)
            {
                var where = $"$.layers[{pinned.Count}].policy";
                if (layer.Policy == name)
                    return Refused($"{where}: '{name}' would be a layer of itself.");
                var stored = (await policies.FindAsync(layer.Policy, scope, cancel))?.Value;
                if (layer.Digest is null && stored is not { Digest: not null, Kind: PolicyKind.Runtime })
                    return Refused($"{where}: no runtime policy '{layer.Policy}' is in force.");
                if (stored is not null && await HasLayerAsync(stored, name, [], cancel))
                    return Refused($"{where}: '{layer.Policy}' has '{name}' as a layer: a cycle.");
                pinned.Add(layer with { Digest = layer.Digest ?? stored!.Digest });
            }

            text = PolicyLayerList.Of(pinned).Write();
        }

        var opened = await OpenAsync(text, cancel);
        return new PutText(text, (await ReadAsync(opened, 0, cancel)).Reading, opened.Seal);

        PutText Refused(string error) => new(text, new PolicyReading.Refused(error), null);
    }

    /// <summary>What a digest names. It stays ready for the next one who asks.</summary>
    /// <returns><see langword="null"/> if there is no such text.</returns>
    public ValueTask<KnownPolicy?> FindAsync(string digest, CancellationToken cancel) => FindAsync(digest, 0, cancel);

    // Several may wait for what is read here, so nobody's giving up ends it.
    private ValueTask<KnownPolicy?> FindAsync(string digest, int depth, CancellationToken cancel) =>
        recent.GetAsync(digest, () => LoadAsync(digest, depth, CancellationToken.None), cancel);

    private async Task<KnownPolicy?> LoadAsync(string digest, int depth, CancellationToken cancel)
    {
        if (await forms.FindAsync(digest, cancel) is { } form)
        {
            var decided = await DecideAsync(form.Seal, cancel);
            return Known(decided.Error is null ? new PolicyReading.Runtime(form, decided.Signers) : new PolicyReading.Refused(decided.Error), form.Size);
        }

        if (await blobs.FindAsync(digest, cancel) is not { } text)
            return null;
        var opened = await OpenAsync(text, cancel);
        var known = await ReadAsync(opened, depth, cancel);
        return known.Reading is PolicyReading.Runtime { Policy: var policy } runtime && await KeepAsync(digest, text.Length, policy, opened.Seal, cancel) is { } kept
            ? Known(runtime with { Policy = kept }, kept.Size)
            : known;
    }

    // From here on it is the form that is judged with: what the text was read into goes.
    private async Task<RuntimePolicy?> KeepAsync(string digest, long length, RuntimePolicy policy, DsseSeal? seal, CancellationToken cancel)
    {
        try
        {
            return await forms.KeepAsync(digest, length, policy, seal, cancel) ? await forms.FindAsync(digest, cancel) : null;
        }
        catch (StorageUnavailableException e)
        {
            LogNotKept(log, digest, e.Message);
            return null;
        }
    }

    private async Task<KnownPolicy> ReadAsync(Opened opened, int depth, CancellationToken cancel)
    {
        if (opened.Error is { } refused)
            return Known(new PolicyReading.Refused(refused), 0);
        if (PolicyLayerList.IsOne(opened.Text.Span))
            return await PutTogetherAsync(opened, depth, cancel);
        if (BootPolicy.IsOne(opened.Text.Span))
        {
            return BootPolicy.TryParse(opened.Text, out var boot, out var bootError)
                ? Known(new PolicyReading.Boot(boot, opened.Signers), opened.Text.Length)
                : Known(new PolicyReading.Refused(bootError), 0);
        }

        return RuntimePolicy.TryParse(opened.Text, out var runtime, out var error)
            ? Known(new PolicyReading.Runtime(runtime, opened.Signers), runtime.Size)
            : Known(new PolicyReading.Refused(error), 0);
    }

    private async Task<KnownPolicy> PutTogetherAsync(Opened opened, int depth, CancellationToken cancel)
    {
        if (!PolicyLayerList.TryParse(opened.Text, out var list, out var malformed))
            return Known(new PolicyReading.Refused(malformed), 0);
        var layers = new LayerRow();
        if (await AddLayersAsync(list, null, layers, depth, cancel) is { } error)
            return Known(new PolicyReading.Refused(error), 0);
        if (!RuntimePolicy.TryLayer(layers.Layers, out var layered, out var wrong))
            return Known(new PolicyReading.Refused($"$.layers: {wrong}"), 0);
        var known = Known(new PolicyReading.Runtime(layered, opened.Signers), 0);
        return known with { Layers = list, Parts = layers.Parts, Until = layers.Until < known.Until ? layers.Until : known.Until };
    }

    private KnownPolicy Known(PolicyReading reading, long size) =>
        new(reading, size + Overhead) { Until = options.RequireSignedPolicies ? clock.GetUtcNow() + Lifetime : DateTimeOffset.MaxValue };

    // Layers of layers stand in one row; what holds until a date holds no longer in any of its parts.
    private async Task<string?> AddLayersAsync(PolicyLayerList list, DateTimeOffset? until, LayerRow into, int depth, CancellationToken cancel)
    {
        if (depth >= MaxDepth)
            return $"$.layers: layers of layers, deeper than {MaxDepth}.";
        for (var i = 0; i < list.Layers.Length; i++)
        {
            var layer = list.Layers[i];
            if (into.Layers.Count >= RuntimePolicy.MaxLayers)
                return $"$.layers: more than {RuntimePolicy.MaxLayers} in all.";
            if (layer.Digest is not { } digest)
                return $"$.layers[{i}].digest: is missing; a signed text names the digests of its layers.";
            if (await FindAsync(digest, depth + 1, cancel) is not { } known)
                return $"$.layers[{i}].digest: there is no policy's text {digest}.";

            var ends = layer.Until is { } own && until is { } outer ? own < outer ? own : outer : layer.Until ?? until;
            var why = known switch
            {
                { Reading: PolicyReading.Refused refused } => refused.Error,
                { Layers: { } inner } => await AddLayersAsync(inner, ends, into, depth + 1, cancel),
                { Reading: PolicyReading.Runtime { Policy: var policy } } => into.Add(new PolicyLayer(layer.Policy, policy, ends), digest),
                _ => "it is a policy of what boots; one of what runs is expected.",
            };
            if (why is not null)
                return $"$.layers[{i}], '{layer.Policy}': {why}";
            into.Until = known.Until < into.Until ? known.Until : into.Until;
        }

        return null;
    }

    // Takes a text out of its envelope.
    private async Task<Opened> OpenAsync(ReadOnlyMemory<byte> text, CancellationToken cancel)
    {
        if (!DsseEnvelope.IsEnvelope(text.Span))
        {
            var bare = await DecideAsync(null, cancel);
            return new Opened(text, null, bare.Signers, bare.Error);
        }

        if (!DsseEnvelope.TryParse(text, out var envelope, out var malformed))
            return new Opened(text, null, [], malformed);
        var seal = DsseSeal.Of(envelope);
        var (by, error) = await DecideAsync(seal, cancel);
        return new Opened(envelope.UntrustedPayload, seal, by, error);
    }

    // Where nobody asks for signatures a bad one is as good as none, and nobody is told that there is one.
    private async Task<(IReadOnlyList<string> Signers, string? Error)> DecideAsync(DsseSeal? seal, CancellationToken cancel)
    {
        if (seal is null)
            return ([], options.RequireSignedPolicies ? "$: it is not signed, and this service takes signed policies only (DSSE)." : null);
        return seal.TryVerify(await signers.TrustAsync(cancel), clock.GetUtcNow(), out var verified, out var why)
            ? ([.. verified.Select(static s => s.Name)], null)
            : ([], options.RequireSignedPolicies ? $"$.signatures: {why}" : null);
    }

    // Texts name layers by digest, so no text can contain itself; but a name whose text contains another text of the same name is what nobody means.
    private async Task<bool> HasLayerAsync(PolicyRecord policy, string name, HashSet<string> seen, CancellationToken cancel)
    {
        if (policy.Digest is null || !seen.Add(policy.Digest) || seen.Count > RuntimePolicy.MaxLayers)
            return false;
        if (await forms.HasAsync(policy.Digest, cancel) || await blobs.FindAsync(policy.Digest, cancel) is not { } text)
            return false; // what is compiled has no layers
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

    private sealed record Opened(ReadOnlyMemory<byte> Text, DsseSeal? Seal, IReadOnlyList<string> Signers, string? Error);

    /// <summary>Layers as they stand in a row, whatever lists they came from.</summary>
    private sealed class LayerRow
    {
        public List<PolicyLayer> Layers { get; } = [];

        public List<string> Parts { get; } = [];

        public DateTimeOffset Until { get; set; } = DateTimeOffset.MaxValue;

        public string? Add(PolicyLayer layer, string digest)
        {
            Layers.Add(layer);
            Parts.Add(digest);
            return null;
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The compiled form of the policy {Digest} cannot be kept, so it is judged with as its text was read: {Why}")]
    private static partial void LogNotKept(ILogger log, string digest, string why);
}

/// <summary>A text that somebody puts.</summary>
/// <param name="Pinned">As it is kept: layers have their digests.</param>
/// <param name="Seal">Of its envelope, where it has one.</param>
internal sealed record PutText(ReadOnlyMemory<byte> Pinned, PolicyReading Reading, DsseSeal? Seal);
