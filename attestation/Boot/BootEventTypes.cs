using System.Globalization;

namespace Keylime.Attestation;

/// <summary>TCG_EVENTTYPE: the event types of the PC Client Platform Firmware Profile (revision 1.06, 10.4.1) and of its predecessors.</summary>
public static class BootEventTypes
{
    public const uint PrebootCert = 0x00000000;
    public const uint PostCode = 0x00000001;
    public const uint Unused = 0x00000002;
    public const uint NoAction = 0x00000003;
    public const uint Separator = 0x00000004;
    public const uint Action = 0x00000005;
    public const uint EventTag = 0x00000006;
    public const uint CrtmContents = 0x00000007;
    public const uint CrtmVersion = 0x00000008;
    public const uint CpuMicrocode = 0x00000009;
    public const uint PlatformConfigFlags = 0x0000000A;
    public const uint TableOfDevices = 0x0000000B;
    public const uint CompactHash = 0x0000000C;
    public const uint Ipl = 0x0000000D;
    public const uint IplPartitionData = 0x0000000E;
    public const uint NonhostCode = 0x0000000F;
    public const uint NonhostConfig = 0x00000010;
    public const uint NonhostInfo = 0x00000011;
    public const uint OmitBootDeviceEvents = 0x00000012;
    public const uint PostCode2 = 0x00000013;
    public const uint VariableDriverConfig = 0x80000001;
    public const uint VariableBoot = 0x80000002;
    public const uint BootServicesApplication = 0x80000003;
    public const uint BootServicesDriver = 0x80000004;
    public const uint RuntimeServicesDriver = 0x80000005;
    public const uint Gpt = 0x80000006;
    public const uint EfiAction = 0x80000007;
    public const uint FirmwareBlob = 0x80000008;
    public const uint HandoffTables = 0x80000009;
    public const uint FirmwareBlob2 = 0x8000000A;
    public const uint HandoffTables2 = 0x8000000B;
    public const uint VariableBoot2 = 0x8000000C;
    public const uint Gpt2 = 0x8000000D;
    public const uint HcrtmEvent = 0x80000010;
    public const uint VariableAuthority = 0x800000E0;
    public const uint SpdmFirmwareBlob = 0x800000E1;
    public const uint SpdmFirmwareConfig = 0x800000E2;
    public const uint SpdmDevicePolicy = 0x800000E3;
    public const uint SpdmDeviceAuthority = 0x800000E4;

    /// <returns>The name as the profile has it, or the number as <c>0x0000001f</c>.</returns>
    public static string NameOf(uint type) => type switch
    {
        PrebootCert => "EV_PREBOOT_CERT",
        PostCode => "EV_POST_CODE",
        Unused => "EV_UNUSED",
        NoAction => "EV_NO_ACTION",
        Separator => "EV_SEPARATOR",
        Action => "EV_ACTION",
        EventTag => "EV_EVENT_TAG",
        CrtmContents => "EV_S_CRTM_CONTENTS",
        CrtmVersion => "EV_S_CRTM_VERSION",
        CpuMicrocode => "EV_CPU_MICROCODE",
        PlatformConfigFlags => "EV_PLATFORM_CONFIG_FLAGS",
        TableOfDevices => "EV_TABLE_OF_DEVICES",
        CompactHash => "EV_COMPACT_HASH",
        Ipl => "EV_IPL",
        IplPartitionData => "EV_IPL_PARTITION_DATA",
        NonhostCode => "EV_NONHOST_CODE",
        NonhostConfig => "EV_NONHOST_CONFIG",
        NonhostInfo => "EV_NONHOST_INFO",
        OmitBootDeviceEvents => "EV_OMIT_BOOT_DEVICE_EVENTS",
        PostCode2 => "EV_POST_CODE2",
        VariableDriverConfig => "EV_EFI_VARIABLE_DRIVER_CONFIG",
        VariableBoot => "EV_EFI_VARIABLE_BOOT",
        BootServicesApplication => "EV_EFI_BOOT_SERVICES_APPLICATION",
        BootServicesDriver => "EV_EFI_BOOT_SERVICES_DRIVER",
        RuntimeServicesDriver => "EV_EFI_RUNTIME_SERVICES_DRIVER",
        Gpt => "EV_EFI_GPT_EVENT",
        EfiAction => "EV_EFI_ACTION",
        FirmwareBlob => "EV_EFI_PLATFORM_FIRMWARE_BLOB",
        HandoffTables => "EV_EFI_HANDOFF_TABLES",
        FirmwareBlob2 => "EV_EFI_PLATFORM_FIRMWARE_BLOB2",
        HandoffTables2 => "EV_EFI_HANDOFF_TABLES2",
        VariableBoot2 => "EV_EFI_VARIABLE_BOOT2",
        Gpt2 => "EV_EFI_GPT_EVENT2",
        HcrtmEvent => "EV_EFI_HCRTM_EVENT",
        VariableAuthority => "EV_EFI_VARIABLE_AUTHORITY",
        SpdmFirmwareBlob => "EV_EFI_SPDM_FIRMWARE_BLOB",
        SpdmFirmwareConfig => "EV_EFI_SPDM_FIRMWARE_CONFIG",
        SpdmDevicePolicy => "EV_EFI_SPDM_DEVICE_POLICY",
        SpdmDeviceAuthority => "EV_EFI_SPDM_DEVICE_AUTHORITY",
        _ => string.Create(CultureInfo.InvariantCulture, $"0x{type:x8}"),
    };
}
