using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>Which files may have run: Keylime's runtime policy, ready to judge with.</summary>
/// <remarks>Immutable once made, so any number of threads may judge with one.</remarks>
public sealed partial class RuntimePolicy
{
    /// <summary>The most layers of one policy.</summary>
    public const int MaxLayers = 16;

    private const int MaxLayerName = 128;

    private readonly ImmutableArray<RuntimeLayer> _layers;

    private RuntimePolicy(ImmutableArray<RuntimeLayer> layers, ImmutableArray<string> warnings)
    {
        _layers = layers;
        Warnings = warnings;
        Paths = layers.Sum(static l => l.Rules.Digests.Count);
        Excludes = layers.Sum(static l => l.Rules.Excludes.Count);
        LogHash = layers[0].Rules.LogHash;
        ClassRules = RuntimeSettings.Of(layers).ClassRules;
    }

    /// <summary>Paths with digests; of layers the sum.</summary>
    public int Paths { get; }

    /// <summary>Patterns; of layers the sum.</summary>
    public int Excludes { get; }

    /// <summary>True for several policies in one, with names or until a time.</summary>
    public bool IsLayered => _layers is not [{ Name.Length: 0, Until: null }];

    /// <summary>Bytes that it holds, in memory or in a file that is mapped; of layers the sum, though they may be shared.</summary>
    public long Size => _layers.Sum(static l => l.Rules.Size);

    /// <summary>The hash of the measurement list's template-hash field.</summary>
    public TpmAlgorithm LogHash { get; }

    /// <summary>The class rules as they stand, those that the policy does not mention too.</summary>
    public ImmutableArray<ClassRule> ClassRules { get; }

    /// <summary>What the policy has and nobody here knows, or asks for and is unwise.</summary>
    public ImmutableArray<string> Warnings { get; }

    /// <summary>Reads a policy in Keylime's JSON.</summary>
    /// <param name="error">What, where (as a JSON path), and what was expected.</param>
    public static bool TryParse(
        ReadOnlyMemory<byte> utf8Json, [NotNullWhen(true)] out RuntimePolicy? policy, [NotNullWhen(false)] out string? error)
    {
        try
        {
            JsonText.Demand(utf8Json.Span);
            var reader = new RuntimePolicyReader(utf8Json.Span);
            var rules = reader.Read();
            (policy, error) = (new RuntimePolicy([new RuntimeLayer("", rules, null)], reader.Warnings), null);
            return true;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException is what the JSON reader throws for half a surrogate pair
            (policy, error) = (null, e.Message);
            return false;
        }
    }

    /// <summary>
    /// Several policies in one: what a layer that has not run out allows is allowed. Settings that there can be one of (violations, class rules,
    /// the device mapper's policy) are those of the first layer that has them.
    /// </summary>
    /// <param name="error">None, too many, a name twice or empty, a layer that has layers, or layers whose <c>log_hash_alg</c> differ.</param>
    public static bool TryLayer(
        IReadOnlyList<PolicyLayer> layers, [NotNullWhen(true)] out RuntimePolicy? policy, [NotNullWhen(false)] out string? error)
    {
        ArgumentNullException.ThrowIfNull(layers);
        policy = null;
        error = Objection(layers);
        if (error is not null)
            return false;

        policy = new RuntimePolicy(
            [.. layers.Select(static l => new RuntimeLayer(l.Name, l.Policy._layers[0].Rules, l.Until))],
            [.. layers.SelectMany(static l => l.Policy.Warnings.Select(w => $"{l.Name}: {w}"))]);
        return true;
    }

    /// <summary>
    /// True if a layer ran out between: lines that were proven before may be of files that only it knew, and have to be judged again.
    /// </summary>
    public bool HasLapsed(DateTimeOffset since, DateTimeOffset at) => _layers.Any(l => l.IsLiveAt(since) && !l.IsLiveAt(at));

    /// <summary>The layers that count at a time, and those that do not any more.</summary>
    internal (ImmutableArray<RuntimeLayer> Live, ImmutableArray<RuntimeLayer> Stale) LayersAt(DateTimeOffset at) =>
        _layers.All(l => l.IsLiveAt(at)) ? (_layers, []) : ([.. _layers.Where(l => l.IsLiveAt(at))], [.. _layers.Where(l => !l.IsLiveAt(at))]);

    /// <summary>For each digest a path that it is listed for, by a layer that counts.</summary>
    internal string?[] PathsOf(ImmutableArray<byte[]> digests, DateTimeOffset at)
    {
        var paths = new string?[digests.Length];
        foreach (var layer in _layers.Where(l => l.IsLiveAt(at)))
            layer.Rules.Digests.FindPaths(digests, paths);
        return paths;
    }

    private static string? Objection(IReadOnlyList<PolicyLayer> layers)
    {
        if (layers.Count is 0 or > MaxLayers)
            return $"$.layers: {layers.Count} layers, 1 to {MaxLayers} are expected.";
        for (var i = 0; i < layers.Count; i++)
        {
            var layer = layers[i];
            if (layer.Name.Length is 0 or > MaxLayerName || layers.Take(i).Any(l => l.Name == layer.Name))
                return $"$.layers[{i}]: the policy '{layer.Name}' is there twice, or its name has not 1 to {MaxLayerName} characters.";
            if (layer.Policy.IsLayered)
                return $"$.layers[{i}]: the policy '{layer.Name}' has layers itself; one that has none is expected.";
            if (layer.Policy.LogHash != layers[0].Policy.LogHash)
                return $"$.layers[{i}]: the policy '{layer.Name}' has log_hash_alg {layer.Policy.LogHash.ProtocolName()}, and '{layers[0].Name}' has {layers[0].Policy.LogHash.ProtocolName()}; a list has one.";
        }

        return null;
    }
}
