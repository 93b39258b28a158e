using System.Collections.Frozen;
using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>One measurement of the device mapper, taken apart. What is in it is proven; that it is allowed is for the policy to say.</summary>
/// <param name="Name">Of the device; <see langword="null"/> where the kernel measures none (a rename of a device without tables).</param>
/// <param name="Uuid">Of the device; empty where it has none.</param>
internal abstract record DeviceMapperEvent(string? Name, string? Uuid)
{
    /// <param name="Device">major, minor, minor_count, num_targets, by name.</param>
    internal sealed record TableLoad(string Name, string Uuid, FrozenDictionary<string, string> Device, ImmutableArray<DeviceMapperTarget> Targets) : DeviceMapperEvent(Name, Uuid);

    /// <param name="Hash">Of the table that is active now, as <c>sha256:hex</c>; <see langword="null"/> where there is none.</param>
    internal sealed record DeviceResume(string Name, string Uuid, string? Hash) : DeviceMapperEvent(Name, Uuid);

    internal sealed record DeviceRemove(string Name, string Uuid) : DeviceMapperEvent(Name, Uuid);

    internal sealed record TableClear(string Name, string Uuid) : DeviceMapperEvent(Name, Uuid);

    internal sealed record DeviceRename(string? Name, string? Uuid, string NewName, string NewUuid) : DeviceMapperEvent(Name, Uuid);

    internal sealed record TargetUpdate(string Name, string Uuid, DeviceMapperTarget Target) : DeviceMapperEvent(Name, Uuid);
}

/// <summary>A row of a device's table.</summary>
/// <param name="Index">From 0.</param>
/// <param name="Attributes">All of the row, target_index and target_name too, by name.</param>
internal sealed record DeviceMapperTarget(int Index, FrozenDictionary<string, string> Attributes);
