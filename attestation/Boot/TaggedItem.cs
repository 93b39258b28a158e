namespace Keylime.Attestation;

/// <summary>TCG_PCClientTaggedEvent: a number that its writer chose, and data.</summary>
public readonly record struct TaggedItem(uint Id, ReadOnlyMemory<byte> Data)
{
    /// <summary>Linux EFI stub, PCR 9: the command line (<c>LOAD_OPTIONS_EVENT_TAG_ID</c>); the digest is that of the load options, not of this label.</summary>
    public const uint LinuxLoadOptions = 0x8F3B22ED;

    /// <summary>Linux EFI stub, PCR 9: the initrd (<c>INITRD_EVENT_TAG_ID</c>).</summary>
    public const uint LinuxInitrd = 0x8F3B22EC;

    /// <summary>systemd-boot, PCR 5: <c>loader.conf</c>.</summary>
    public const uint LoaderConfiguration = 0xF5BC582A;

    /// <summary>The data as text, where they are text; empty otherwise.</summary>
    public string Text => BootText.TryReadPrintable(Data.Span, out var text) ? text : "";
}
