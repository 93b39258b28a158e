using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>What devices of one kind may be, and what may happen to them.</summary>
/// <param name="Required">At the end of a list some device must be under this rule, in a valid state.</param>
/// <param name="ResumeRequired">A device is in a valid state only after a resume.</param>
/// <param name="Device">What name, uuid, major, minor, minor_count may be, by name.</param>
/// <param name="Targets">The table's rows, in order; of each what its attributes may be, by name.</param>
internal sealed record DeviceMapperRule(
    string Name,
    bool Required,
    bool ResumeRequired,
    DeviceMapperReference NewName,
    DeviceMapperReference NewUuid,
    bool AllowRemoval,
    bool AllowClear,
    bool AllowMultipleLoads,
    ImmutableArray<KeyValuePair<string, DeviceMapperReference>> Device,
    ImmutableArray<ImmutableArray<KeyValuePair<string, DeviceMapperReference>>> Targets);
