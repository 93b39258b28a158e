using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>What an event's data say, read as its type wants them read. Data that will not be read are a value here, not the end of the log.</summary>
/// <remarks>
/// Whether any of it is proven is another question: <see cref="ReplayedEvent.Measured"/>. The type decides how the data are read, and no type
/// is ever measured.
/// </remarks>
public abstract partial record BootEventData
{
    private BootEventData()
    {
    }

    /// <summary>The border between the firmware's measurements and what follows (PFP 1.06, 10.4.1: EV_SEPARATOR).</summary>
    /// <param name="Value">The four bytes as a little-endian number: 0 or 0xFFFFFFFF for a border, 1 after an error.</param>
    public sealed record Separator(uint Value) : BootEventData
    {
        /// <summary>One of the two values that the profile has for a border.</summary>
        public bool IsDelimiter => Value is 0 or uint.MaxValue;
    }

    /// <summary>EV_ACTION and EV_EFI_ACTION: a fixed text, whose hash is what is extended.</summary>
    public sealed record Action(string Text) : BootEventData;

    /// <summary>UEFI_VARIABLE_DATA: a variable as it was read when it was measured.</summary>
    public sealed record EfiVariable(Guid Vendor, string Name, ReadOnlyMemory<byte> Value, EfiVariableContent Content) : BootEventData
    {
        /// <summary>Where <see cref="Value"/> starts in the event's data.</summary>
        internal int ValueOffset { get; init; }
    }

    /// <summary>UEFI_IMAGE_LOAD_EVENT: a program was loaded. The digest is its Authenticode hash, so nothing in here is measured.</summary>
    public sealed record ImageLoad(ulong Address, ulong Length, ulong LinkTimeAddress, EfiDevicePath Path) : BootEventData;

    /// <summary>UEFI_GPT_DATA: the partitions of the disk that was booted from.</summary>
    public sealed record Gpt(Guid Disk, ImmutableArray<GptPartition> Partitions) : BootEventData;

    /// <summary>EV_IPL: what a boot loader says that it measured.</summary>
    /// <param name="Text">Without the prefix that <paramref name="Kind"/> stands for, and without the NUL at the end.</param>
    public sealed record Ipl(IplKind Kind, string Text) : BootEventData
    {
        /// <summary>True where the data are UTF-16, as systemd's programs and the kernel's stub write them.</summary>
        public bool IsUtf16 { get; init; }

        /// <summary>How many bytes of the data are in front of <see cref="Text"/>.</summary>
        internal int PrefixLength { get; init; }
    }

    /// <summary>UEFI_PLATFORM_FIRMWARE_BLOB and its second form: the digest is that of the bytes at this place, so nothing in here is measured.</summary>
    /// <param name="Description">Of the second form; empty in the first.</param>
    public sealed record FirmwareBlob(string Description, ulong Base, ulong Length) : BootEventData;

    /// <summary>UEFI_HANDOFF_TABLE_POINTERS and its second form: where tables are, whose contents were measured.</summary>
    /// <param name="Description">Of the second form; empty in the first.</param>
    public sealed record HandoffTables(string Description, ImmutableArray<HandoffTable> Tables) : BootEventData;

    /// <summary>EV_S_CRTM_VERSION: the firmware's version, as text (UTF-16 or ASCII) or as a GUID.</summary>
    public sealed record CrtmVersion(string Version) : BootEventData;

    /// <summary>Text that a kind of event holds, and no more: EV_POST_CODE, EV_S_CRTM_CONTENTS, EV_CPU_MICROCODE, EV_COMPACT_HASH, EV_OMIT_BOOT_DEVICE_EVENTS, EV_EFI_HCRTM_EVENT …</summary>
    public sealed record Label(string Text) : BootEventData;

    /// <summary>EV_EVENT_TAG and EV_PLATFORM_CONFIG_FLAGS in their tagged form: TCG_PCClientTaggedEvent, one or more.</summary>
    public sealed record Tagged(ImmutableArray<TaggedItem> Items) : BootEventData;

    /// <summary>A kind of which no more is known than its bytes.</summary>
    public sealed record Unknown : BootEventData;

    /// <summary>A kind that is known, wrongly formed.</summary>
    /// <param name="Reason">What, where and what was expected.</param>
    public sealed record Malformed(string Reason) : BootEventData;
}
