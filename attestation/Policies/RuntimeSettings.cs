using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>What there can be one of: each is that of the first layer that mentions it.</summary>
internal sealed class RuntimeSettings
{
    private RuntimeSettings(ImmutableArray<RuntimeLayer> layers)
    {
        (ViolationBudget, ViolationPaths) = layers.Select(static l => l.Rules.Violations).FirstOrDefault(static v => v is not null) ?? (0, PatternList.Empty);
        Devices = layers.Select(static l => l.Rules.Devices).FirstOrDefault(static d => d is not null);
        BootAggregate = Rule(layers, Attestation.ClassRules.BootAggregate);
        Memfd = Rule(layers, Attestation.ClassRules.Memfd);
        DpkgTemporary = Rule(layers, Attestation.ClassRules.DpkgTemporary);
    }

    public long ViolationBudget { get; }

    public PatternList ViolationPaths { get; }

    public DeviceMapperPolicy? Devices { get; }

    public ClassRule BootAggregate { get; }

    public ClassRule Memfd { get; }

    public ClassRule DpkgTemporary { get; }

    public ImmutableArray<ClassRule> ClassRules => [BootAggregate, Memfd, DpkgTemporary];

    public static RuntimeSettings Of(ImmutableArray<RuntimeLayer> layers) => new(layers);

    private static ClassRule Rule(ImmutableArray<RuntimeLayer> layers, string name)
    {
        foreach (var layer in layers)
        {
            if (layer.Rules.ClassRules.TryGetValue(name, out var text))
                return Attestation.ClassRules.Describe(name, text);
        }

        return Attestation.ClassRules.Describe(name, null);
    }
}
