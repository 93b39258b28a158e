using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Globalization;

namespace Keylime.Attestation;

/// <summary>
/// Reads the device mapper's measurements, front to back (kernel: Documentation/admin-guide/device-mapper/dm-ima.rst has the grammar, drivers/md/dm-ima.c what is
/// really written). A read returns what it consumed, or throws <see cref="FormatException"/>.
/// </summary>
/// <remarks>
/// Pairs <c>name=value</c> with commas between, groups with a semicolon behind. In a device's name and uuid the kernel escapes <c>\ , ; =</c> with a backslash;
/// in other values it escapes nothing: there a comma that no <c>name=</c> follows belongs to the value (<c>authenc(hmac(sha256),xts(aes))</c>).
/// Some kernels leave zeros behind a group, where a buffer was longer than its text.
/// </remarks>
internal ref partial struct DeviceMapperReader
{
    /// <summary>The most rows of one event, and of a table.</summary>
    public const int MaxTargets = 1024;

    private const int MaxAttributes = 256;
    private const int MaxValue = 4096;

    private readonly int _end;
    private ReadOnlySpan<byte> _rest;

    private DeviceMapperReader(ReadOnlySpan<byte> data)
    {
        _rest = data;
        _end = data.Length;
    }

    /// <exception cref="FormatException">It is no such measurement; the message says what, where, and what was expected.</exception>
    public static DeviceMapperEvent Read(DeviceMapperEventKind kind, ReadOnlySpan<byte> data)
    {
        var reader = new DeviceMapperReader(data);
        _ = reader.ReadVersion("dm_version=");
        reader.EndGroup();
        DeviceMapperEvent read = kind switch
        {
            DeviceMapperEventKind.TableLoad => reader.ReadLoad(),
            DeviceMapperEventKind.DeviceResume => reader.ReadResume(),
            DeviceMapperEventKind.DeviceRemove => reader.ReadRemove(),
            DeviceMapperEventKind.TableClear => reader.ReadClear(),
            DeviceMapperEventKind.DeviceRename => reader.ReadRename(),
            _ => reader.ReadUpdate(),
        };
        if (!reader._rest.IsEmpty)
            reader.Throw("the end of the measurement is expected");
        return read;
    }

    private DeviceMapperEvent.TableLoad ReadLoad()
    {
        var (name, uuid, device) = ReadDevice();
        var targets = ImmutableArray.CreateBuilder<DeviceMapperTarget>();
        while (!_rest.IsEmpty)
        {
            if (targets.Count == MaxTargets)
                Throw($"more than {MaxTargets} targets");
            targets.Add(ReadTarget());
        }

        if (targets.Count == 0)
            Throw("a target is expected");
        return new DeviceMapperEvent.TableLoad(name, uuid, device, targets.ToImmutable());
    }

    private DeviceMapperEvent.DeviceResume ReadResume()
    {
        var (name, uuid, known) = ReadDeviceOrNames();
        string? hash = null;
        if (known)
            hash = ReadHash("active_table_hash=");
        else
            Expect("device_resume=no_data");
        EndGroup();
        ReadCapacity();
        return new DeviceMapperEvent.DeviceResume(name, uuid, hash);
    }

    private DeviceMapperEvent.DeviceRemove ReadRemove()
    {
        var active = Skip("device_active_metadata=") ? ReadDevice() : default;
        var inactive = Skip("device_inactive_metadata=") ? ReadDevice() : default;
        var (name, uuid) = (active.Name ?? inactive.Name, active.Uuid ?? inactive.Uuid);
        if (active.Name is not null)
            ReadHashAndComma("active_table_hash=");
        if (inactive.Name is not null)
            ReadHashAndComma("inactive_table_hash=");
        if (active.Name is not null && inactive.Name is not null && (active.Name != inactive.Name || active.Uuid != inactive.Uuid))
            Throw("two tables of one device name it differently,");
        if (name is null)
        {
            (name, uuid) = ReadNames();
            EndGroup();
            Expect("device_remove=no_data");
            EndGroup();
        }

        Expect("remove_all=");
        if (!Skip("y") && !Skip("n"))
            Throw("y or n is expected");
        EndGroup();
        ReadCapacity();
        return new DeviceMapperEvent.DeviceRemove(name, uuid!);
    }

    private DeviceMapperEvent.TableClear ReadClear()
    {
        var (name, uuid, known) = ReadDeviceOrNames();
        if (known)
            _ = ReadHash("inactive_table_hash=");
        else
            Expect("table_clear=no_data");
        EndGroup();
        ReadCapacity();
        return new DeviceMapperEvent.TableClear(name, uuid);
    }

    private DeviceMapperEvent.DeviceRename ReadRename()
    {
        string? name = null, uuid = null;
        if (Skip("device_rename=no_data"))
            EndGroup();
        else
            (name, uuid, _) = ReadDevice();
        var newName = ReadName("new_name=");
        Comma();
        var newUuid = ReadName("new_uuid=");
        EndGroup();
        ReadCapacity();
        return new DeviceMapperEvent.DeviceRename(name, uuid, newName, newUuid);
    }

    private DeviceMapperEvent.TargetUpdate ReadUpdate()
    {
        var (name, uuid, _) = ReadDevice();
        return new DeviceMapperEvent.TargetUpdate(name, uuid, ReadTarget());
    }

    private (string Name, string Uuid, FrozenDictionary<string, string> Device) ReadDevice()
    {
        var (name, uuid) = ReadNames();
        Comma();
        var device = ReadNumbers();
        return (name, uuid, device);
    }

    private FrozenDictionary<string, string> ReadNumbers()
    {
        var device = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var field in (ReadOnlySpan<string>)["major", "minor", "minor_count", "num_targets"])
        {
            if (device.Count > 0)
                Comma();
            Expect(field + "=");
            device.Add(field, ReadNumber());
        }

        EndGroup();
        return device.ToFrozenDictionary(StringComparer.Ordinal);
    }

    private (string Name, string Uuid, bool Known) ReadDeviceOrNames()
    {
        var (name, uuid) = ReadNames();
        if (!Skip(","))
        {
            EndGroup();
            return (name, uuid, false);
        }

        _ = ReadNumbers();
        return (name, uuid, true);
    }

    private (string Name, string Uuid) ReadNames()
    {
        var name = ReadName("name=");
        if (name.Length == 0)
            Throw("a device's name is expected");
        Comma();
        return (name, ReadName("uuid="));
    }

    // A target without a status of its own for IMA has no name, no version and no semicolon: its numbers, each with a comma, and the next one follows.
    private DeviceMapperTarget ReadTarget()
    {
        var attributes = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var field in (ReadOnlySpan<string>)["target_index", "target_begin", "target_len"])
        {
            Expect(field + "=");
            attributes.Add(field, ReadNumber());
            Comma();
        }

        if (!int.TryParse(attributes["target_index"], NumberStyles.None, CultureInfo.InvariantCulture, out var index) || index >= MaxTargets)
            Throw($"target {attributes["target_index"]} of {MaxTargets} at most");
        if (_rest.IsEmpty || _rest.StartsWith("target_index="u8))
            return new DeviceMapperTarget(index, attributes.ToFrozenDictionary(StringComparer.Ordinal));

        Expect("target_name=");
        attributes.Add("target_name", ReadValue());
        Comma();
        attributes.Add("target_version", ReadVersion("target_version="));
        while (Skip(","))
        {
            var key = ReadKey();
            if (attributes.Count == MaxAttributes || !attributes.TryAdd(key, ReadValue()))
                Throw($"the attribute {key} is there twice, or is the one behind {MaxAttributes},");
        }

        EndGroup();
        if (DeviceMapperTargets.Missing(attributes) is { } missing)
            Throw($"a target {attributes["target_name"]} without {missing}");
        return new DeviceMapperTarget(index, attributes.ToFrozenDictionary(StringComparer.Ordinal));
    }
}
