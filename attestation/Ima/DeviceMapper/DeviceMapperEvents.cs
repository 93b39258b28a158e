namespace Keylime.Attestation;

/// <summary>The names of measurements that the device mapper makes (kernel: Documentation/admin-guide/device-mapper/dm-ima.rst).</summary>
public static class DeviceMapperEvents
{
    /// <summary>True for the name of an <c>ima-buf</c> entry that the device mapper makes, whether or not a policy judges it.</summary>
    public static bool IsName(ReadOnlySpan<byte> name) => KindOf(name) is not null;

    internal static DeviceMapperEventKind? KindOf(ReadOnlySpan<byte> name) =>
        name.SequenceEqual("dm_table_load"u8) ? DeviceMapperEventKind.TableLoad
        : name.SequenceEqual("dm_device_resume"u8) ? DeviceMapperEventKind.DeviceResume
        : name.SequenceEqual("dm_device_remove"u8) ? DeviceMapperEventKind.DeviceRemove
        : name.SequenceEqual("dm_table_clear"u8) ? DeviceMapperEventKind.TableClear
        : name.SequenceEqual("dm_device_rename"u8) ? DeviceMapperEventKind.DeviceRename
        : name.SequenceEqual("dm_target_update"u8) ? DeviceMapperEventKind.TargetUpdate
        : null;
}

internal enum DeviceMapperEventKind
{
    TableLoad,
    DeviceResume,
    DeviceRemove,
    TableClear,
    DeviceRename,
    TargetUpdate,
}
