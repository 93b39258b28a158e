using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>What a measurement list has told of the machine's device-mapper devices so far. Immutable.</summary>
public sealed class DeviceMapperState
{
    /// <summary>The most devices of one.</summary>
    public const int MaxDevices = 1024;

    /// <summary>The longest name, uuid or name of a rule, in bytes of UTF-8: the kernel's are shorter.</summary>
    public const int MaxText = 255;

    internal DeviceMapperState(ImmutableArray<DeviceMapperDevice> devices) => Devices = devices;

    public static DeviceMapperState Empty { get; } = new([]);

    public bool IsEmpty => Devices.IsEmpty;

    internal ImmutableArray<DeviceMapperDevice> Devices { get; }

    /// <summary>Takes one event into account.</summary>
    /// <remarks>
    /// The caller has proven the entry, and that its digest is the digest of the data. A table's hash is computed here, with SHA-256 as the kernel
    /// does it, whatever hash the measurement list has.
    /// </remarks>
    /// <param name="name">The entry's name, one of <see cref="DeviceMapperEvents"/>.</param>
    /// <param name="data">The entry's buffer.</param>
    /// <returns>The state behind it, and every objection. Their details name the device, and no line.</returns>
    public DeviceMapperStep Apply(DeviceMapperPolicy policy, ReadOnlySpan<byte> name, ReadOnlySpan<byte> data)
    {
        ArgumentNullException.ThrowIfNull(policy);
        if (DeviceMapperEvents.KindOf(name) is not { } kind)
            throw new ArgumentException("It is the name of no device-mapper event.", nameof(name));

        try
        {
            return new DeviceMapperJudge(policy, this).Take(DeviceMapperReader.Read(kind, data), data);
        }
        catch (FormatException e)
        {
            return new DeviceMapperStep(this, [new Finding(ImaDmMalformed, $"{System.Text.Encoding.ASCII.GetString(name)}: {e.Message}.")]);
        }
    }

    /// <summary>What is wrong with a list that ends here: devices that are in no valid state, and required rules that no device is under.</summary>
    public ImmutableArray<Finding> Complete(DeviceMapperPolicy policy)
    {
        ArgumentNullException.ThrowIfNull(policy);
        var findings = ImmutableArray.CreateBuilder<Finding>();
        foreach (var device in Devices)
        {
            if (policy.Find(device.Rule) is null)
                findings.Add(new Finding(ImaDmNotInPolicy, $"{Shown(device)}: its rule '{device.Rule}' is not in the policy any more."));
            else if (device.Standing == DeviceMapperStanding.Refused)
                findings.Add(new Finding(ImaDmDeviceInvalid, $"{Shown(device)}: something happened to it that rule '{device.Rule}' does not allow, and no table came since."));
            else if (!device.Pending.IsEmpty || device.Standing != DeviceMapperStanding.InOrder)
                findings.Add(new Finding(ImaDmDeviceInvalid, $"{Shown(device)}: {(device.Pending.IsEmpty ? $"rule '{device.Rule}' wants it resumed, and it was not" : "the rest of its table did not come")}."));
        }

        foreach (var rule in policy.Rules)
        {
            if (rule.Required && !Devices.Any(d => d.Rule == rule.Name && d.Pending.IsEmpty && d.Standing == DeviceMapperStanding.InOrder))
                findings.Add(new Finding(ImaDmRuleUnused, $"Rule '{rule.Name}' of the device mapper is required, and no device in a valid state is under it."));
        }

        return findings.DrainToImmutable();
    }

    /// <summary>One form of bytes for one state.</summary>
    public byte[] Encode() => DeviceMapperStateCodec.Encode(this);

    public static bool TryDecode(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out DeviceMapperState? state, [NotNullWhen(false)] out string? error) =>
        DeviceMapperStateCodec.TryDecode(bytes, out state, out error);

    internal static string Shown(DeviceMapperDevice device) => $"device-mapper device '{PrintablePath.From(System.Text.Encoding.UTF8.GetBytes(device.Name))}'";

    internal DeviceMapperState Without(DeviceMapperDevice device) => new(Devices.Remove(device));

    /// <summary>Devices ascend by name and uuid, so a state has one form.</summary>
    internal DeviceMapperState With(DeviceMapperDevice? old, DeviceMapperDevice device)
    {
        var rest = old is null ? Devices : Devices.Remove(old);
        var at = 0;
        while (at < rest.Length && Compare(rest[at], device) < 0)
            at++;
        return new DeviceMapperState(rest.Insert(at, device));
    }

    internal static int Compare(DeviceMapperDevice one, DeviceMapperDevice other) =>
        string.CompareOrdinal(one.Name, other.Name) is var byName and not 0 ? byName : string.CompareOrdinal(one.Uuid, other.Uuid);
}

/// <summary>What came of one event.</summary>
public sealed record DeviceMapperStep(DeviceMapperState State, ImmutableArray<Finding> Findings);
