namespace Keylime.Attestation;

/// <summary>What a measurement in PCR 9 seems to be of.</summary>
internal enum BootFileKind
{
    Other,
    Kernel,
    Initrd,
    CommandLine,
}

/// <summary>Guesses by the log's words: for the words of findings, and for making policies out of boots that are known to be good.</summary>
internal static class BootFiles
{
    public static BootFileKind Guess(in BootFact e) => e.UntrustedData switch
    {
        BootEventData.Tagged { Items: [{ Id: TaggedItem.LinuxInitrd }, ..] } => BootFileKind.Initrd,
        BootEventData.Tagged { Items: [{ Id: TaggedItem.LinuxLoadOptions }, ..] } => BootFileKind.CommandLine,
        BootEventData.Ipl { Text: var text } => GuessPath(text),
        _ => BootFileKind.Other,
    };

    private static BootFileKind GuessPath(string path)
    {
        var name = path[(path.LastIndexOfAny(['/', '\\', ')']) + 1)..];
        return name.StartsWith("initr", StringComparison.OrdinalIgnoreCase) ? BootFileKind.Initrd
            : name.StartsWith("vmlinu", StringComparison.Ordinal) || name.StartsWith("bzImage", StringComparison.Ordinal) ? BootFileKind.Kernel
            : BootFileKind.Other;
    }
}
